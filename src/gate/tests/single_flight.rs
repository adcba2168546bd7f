//! One refresh in one process.

use std::time::Duration;

use futures_util::future::{join_all, poll_immediate};
use tokio::runtime::{Builder, Handle};

use super::world::{LIFETIME, World, settle, started, until_stale};
use crate::error::TokenError;
use crate::gate::{GateCounts, Work};

#[tokio::test(start_paused = true)]
async fn a_fresh_token_costs_neither_a_call_nor_a_look_into_the_store() {
    let mut world = World::new();
    let gate = world.process();
    let tokens = gate.current().await.unwrap();
    assert_eq!(tokens.generation, gate.snapshot().generation);
    world.expect_no_call().await;
    assert_eq!(world.shared().loads.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_tasks_with_a_stale_token_share_one_refresh() {
    let mut world = World::new();
    let gate = world.process();
    let old = gate.snapshot();
    until_stale().await;
    let tasks = started(join_all((0..1_000).map(|_| {
        let gate = gate.clone();
        async move { gate.current().await.unwrap() }
    })))
    .await;
    world.call().await.succeed();
    let all = tasks.await.unwrap();
    assert!(all.iter().all(|tokens| tokens.is_newer_than(&old) && tokens.is_same_save(&all[0])));
    world.expect_no_call().await;
    assert_eq!(gate.counts(), GateCounts { refreshes: 1, adopted: 0 });
    assert!(world.stored().unwrap().is_same_save(&all[0]));
}

#[tokio::test(start_paused = true)]
async fn dropping_every_waiter_cancels_nothing() {
    let mut world = World::new();
    let gate = world.process();
    until_stale().await;
    let [first, second] = [gate.clone(), gate.clone()].map(|gate| async move { gate.current().await });
    let (first, second) = (started(first).await, started(second).await);
    let call = world.call().await;
    first.abort();
    second.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    drop(second.await);
    call.succeed();
    gate.close().await.unwrap();
    assert_eq!(world.stored().unwrap().generation.number(), 2);
    assert_eq!(gate.current().await.unwrap().generation.number(), 2);
    world.expect_no_call().await;
}

/// As at the end of a burst: who asked is gone, and so is the runtime in which they did.
#[tokio::test(start_paused = true)]
async fn the_end_of_another_runtime_cuts_off_no_flight() {
    let mut world = World::new();
    let gate = world.process();
    let (old, asking) = (gate.snapshot().generation, gate.flying_in(Handle::current()));
    let another = std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { assert!(poll_immediate(asking.refresh_now(old)).await.is_none()) });
    });
    another.join().unwrap();
    world.call().await.succeed();
    gate.close().await.unwrap();
    assert_eq!(world.stored().unwrap().generation.number(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_flight_may_end_in_the_hands_of_a_dropped_gate() {
    let mut world = World::new();
    let gate = world.process();
    until_stale().await;
    let waiter = started(async move { gate.current().await }).await;
    waiter.abort();
    world.call().await.succeed();
    settle().await;
    assert_eq!(world.stored().unwrap().generation.number(), 2);
    assert!(!world.is_locked());
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_flight_is_an_error_for_all_and_the_next_one_flies_again() {
    let mut world = World::new();
    let gate = world.process();
    tokio::time::advance(LIFETIME * 2).await;
    let waiters = started(join_all([gate.clone(), gate.clone()].map(|gate| async move { gate.current().await }))).await;
    world.call().await.crash();
    for result in waiters.await.unwrap() {
        assert!(matches!(*result.unwrap_err(), TokenError::FlightLost));
    }
    assert!(!world.is_locked(), "the lock went with the flight");
    let again = started(async move { gate.current().await }).await;
    world.call().await.succeed();
    assert_eq!(again.await.unwrap().unwrap().generation.number(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_flight_brings_is_used_once_whatever_its_freshness() {
    let mut world = World::new();
    let gate = world.process();
    until_stale().await;
    let waiter = started({
        let gate = gate.clone();
        async move { gate.current().await }
    })
    .await;
    // Stale on arrival: one millisecond of life, and time goes on while it is saved.
    world.call().await.succeed_for(Duration::from_nanos(1));
    assert_eq!(waiter.await.unwrap().unwrap().generation.number(), 2);
    world.expect_no_call().await;
}

#[tokio::test(start_paused = true)]
async fn long_work_refreshes_in_the_background_while_all_use_the_live_token() {
    let mut world = World::new();
    let gate = world.process_for(Work::Long);
    tokio::time::advance(LIFETIME.mul_f64(0.8)).await;
    // Nobody waits: each of these returns at once with the old token.
    for _ in 0..10 {
        assert_eq!(gate.current().await.unwrap().generation.number(), 1);
    }
    let call = world.call().await;
    world.expect_no_call().await;
    call.succeed();
    settle().await;
    assert_eq!(gate.current().await.unwrap().generation.number(), 2);
    assert_eq!(gate.counts().refreshes, 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_in_long_work_also_with_a_token_of_fifteen_minutes() {
    let mut world = World::new();
    let gate = world.process();
    let asked = started(async move { gate.refresh_now(crate::token::Generation::FIRST).await }).await;
    world.call().await.succeed_for(Duration::from_mins(15));
    asked.await.unwrap().unwrap();
    let gate = world.process_for(Work::Long);
    tokio::time::advance(Duration::from_secs(15 * 60 - 30)).await;
    assert_eq!(gate.current().await.unwrap().generation.number(), 2);
    world.call().await.succeed();
}

#[tokio::test(start_paused = true)]
async fn short_work_leaves_a_token_that_still_lives_alone() {
    let mut world = World::new();
    let gate = world.process_for(Work::Short);
    tokio::time::advance(LIFETIME.mul_f64(0.8)).await;
    gate.current().await.unwrap();
    world.expect_no_call().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_that_must_live_longer_is_refreshed_once_and_then_taken_as_it_is() {
    let mut world = World::new();
    let gate = world.process();
    let waiter = started({
        let gate = gate.clone();
        async move { gate.valid_for(LIFETIME * 2).await }
    })
    .await;
    world.call().await.succeed();
    assert_eq!(waiter.await.unwrap().unwrap().generation.number(), 2);
    assert_eq!(gate.valid_for(LIFETIME / 2).await.unwrap().generation.number(), 2);
    world.expect_no_call().await;
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_was_asked_for_happens_although_the_token_is_fresh() {
    let mut world = World::new();
    let gate = world.process();
    let old = gate.snapshot().generation;
    let asked = started({
        let gate = gate.clone();
        async move { gate.refresh_now(old).await }
    })
    .await;
    world.call().await.succeed();
    assert!(asked.await.unwrap().unwrap().generation > old);
    // The same question again is answered by the newer token that is there.
    gate.refresh_now(old).await.unwrap();
    world.expect_no_call().await;
}

#[tokio::test(start_paused = true)]
async fn on_the_way_out_nobody_takes_off_any_more() {
    let mut world = World::new();
    let (gate, background) = (world.process(), world.process_for(Work::Long));
    gate.close().await.unwrap();
    background.close().await.unwrap();
    tokio::time::advance(LIFETIME).await;
    for gate in [gate, background] {
        assert!(matches!(*gate.current().await.unwrap_err(), TokenError::Closing));
    }
    world.expect_no_call().await;
}
