//! Long work: tokens are renewed in the background.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::advance;

use super::world::{LIFETIME, World, settle, started};
use crate::error::TokenError;
use crate::gate::Work;
use crate::token::Generation;

#[tokio::test(start_paused = true)]
async fn the_background_refresh_waits_for_nobody_to_ask() {
    let mut world = World::new();
    let gate = world.process_for(Work::Long);
    for generation in 2..5 {
        advance(LIFETIME.mul_f64(0.74)).await;
        world.expect_no_call().await;
        advance(LIFETIME.mul_f64(0.02)).await;
        world.call().await.succeed();
        settle().await;
        assert_eq!(gate.snapshot().generation.number(), generation);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_and_nobody_gets_a_dead_token_in_half_a_minute_of_two_second_tokens() {
    const TWO_SECONDS: Duration = Duration::from_secs(2);
    let mut world = World::new();
    let gate = world.process();
    let asked = started(async move { gate.refresh_now(Generation::FIRST).await }).await;
    world.call().await.succeed_for(TWO_SECONDS);
    asked.await.unwrap().unwrap();

    let gate = world.process_for(Work::Long);
    let mut answered = 0;
    for _ in 0..3_000 {
        advance(Duration::from_millis(10)).await;
        let tokens = gate.current().now_or_never().expect("nobody waits").unwrap();
        assert!(tokens.access_token_expires_at().unwrap() > world.now());
        if let Some(call) = world.call_by_now().await {
            call.succeed_for(TWO_SECONDS);
            answered += 1;
        }
    }
    // One a token, at three quarters of its life.
    assert!((15..=20).contains(&answered), "{answered}");
}

#[tokio::test(start_paused = true)]
async fn the_background_refresh_ends_with_its_gate() {
    let mut world = World::new();
    drop(world.process_for(Work::Long));
    advance(LIFETIME * 10).await;
    world.expect_no_call().await;
    assert_eq!(world.gates_alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_background_refresh_that_failed_is_tried_again_and_the_live_token_is_used() {
    let mut world = World::new();
    let gate = world.process_for(Work::Long);
    advance(LIFETIME.mul_f64(0.76)).await;
    world.call().await.be_away(None);
    settle().await;
    assert_eq!(gate.current().now_or_never().expect("nobody waits").unwrap().generation, Generation::FIRST);
    world.expect_no_call().await;
    advance(Duration::from_millis(1_200)).await;
    world.call().await.succeed();
    settle().await;
    assert_eq!(gate.snapshot().generation, Generation::FIRST.next());
}

#[tokio::test(start_paused = true)]
async fn background_refreshes_that_fail_come_ever_more_seldom() {
    let mut world = World::new();
    let _gate = world.process_for(Work::Long);
    advance(LIFETIME.mul_f64(0.76)).await;
    let mut calls = 0;
    for _ in 0..1_000 {
        if let Some(call) = world.call_by_now().await {
            call.be_away(None);
            calls += 1;
        }
        advance(Duration::from_millis(100)).await;
    }
    // After 1, 2, 4, 8, 16, 30 and 30 s.
    assert!((6..=9).contains(&calls), "{calls} calls in 100 s");
}

#[tokio::test(start_paused = true)]
async fn the_background_refresh_ends_with_the_session() {
    let mut world = World::new();
    let _gate = world.process_for(Work::Long);
    advance(LIFETIME.mul_f64(0.76)).await;
    world.call().await.refuse();
    settle().await;
    advance(Duration::from_secs(2)).await;
    settle().await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn tokens_that_hardly_live_are_renewed_when_asked_for_alone() {
    let mut world = World::new();
    let gate = world.process();
    let asked = started(async move { gate.refresh_now(Generation::FIRST).await }).await;
    world.call().await.succeed_for(Duration::from_millis(1));
    asked.await.unwrap().unwrap();
    let gate = world.process_for(Work::Long);
    for _ in 0..20 {
        advance(Duration::from_millis(500)).await;
        world.expect_no_call().await;
    }
    let asked = started(async move { gate.current().await }).await;
    world.call().await.succeed();
    asked.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_ahead_in_long_work_is_noticed_within_half_a_minute() {
    let mut world = World::new();
    let _gate = world.process_for(Work::Long);
    settle().await;
    world.set_clock_by(100_000);
    advance(Duration::from_secs(31)).await;
    world.call().await.succeed();
}

#[tokio::test(start_paused = true)]
async fn on_the_way_out_a_background_refresh_under_way_is_finished_and_none_follows() {
    let mut world = World::new();
    let gate = world.process_for(Work::Long);
    advance(LIFETIME.mul_f64(0.76)).await;
    let call = world.call().await;
    let closing = started(async move { gate.close().await }).await;
    call.succeed();
    closing.await.unwrap().unwrap();
    assert_eq!(world.stored().unwrap().generation, Generation::FIRST.next());
    advance(LIFETIME).await;
    world.expect_no_call().await;
}

#[tokio::test(start_paused = true)]
async fn another_login_ends_the_background_refresh_and_stands() {
    let mut world = World::new();
    let gate = world.process_for(Work::Long);
    let other = world.log_in();
    advance(LIFETIME.mul_f64(0.76)).await;
    world.expect_no_call().await;
    assert!(matches!(*gate.refresh_now(Generation::FIRST).await.unwrap_err(), TokenError::AccountChanged));
    assert!(world.stored().unwrap().is_same_save(&other));
}

#[tokio::test(start_paused = true)]
async fn a_token_of_unknown_life_is_left_alone_until_it_is_refused() {
    let mut world = World::new();
    let gate = world.process();
    let asked = started(async move { gate.refresh_now(Generation::FIRST).await }).await;
    world.call().await.succeed_for(Duration::ZERO);
    asked.await.unwrap().unwrap();
    let gate = world.process_for(Work::Long);
    for _ in 0..100 {
        advance(Duration::from_mins(1)).await;
        world.expect_no_call().await;
    }
    let refused = started(async move { gate.refresh_after(Generation::FIRST.next()).await }).await;
    world.call().await.succeed();
    refused.await.unwrap().unwrap();
}
