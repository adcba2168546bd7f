//! Refreshes that were cut off: what is told when the session turns out to be lost.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::world::{Call, LIFETIME, World, settle, started};
use crate::error::TokenError;
use crate::gate::{RefreshGate, RenewalError};

/// Wants a token that only a refresh can give, and hands that refresh over.
async fn refreshing(world: &mut World, gate: &RefreshGate) -> (tokio::task::JoinHandle<Outcome>, Call) {
    let gate = gate.clone();
    let waiter = started(async move { gate.current().await }).await;
    (waiter, world.call().await)
}

type Outcome = super::super::core::Outcome;

fn lost(unanswered: bool) -> RenewalError {
    RenewalError::Transient { cause: Arc::new(std::io::Error::other("lost")), retry_after: None, unanswered }
}

/// Returns when the refresh began that the end of the session is put down to.
#[track_caller]
fn blamed(outcome: Outcome) -> Option<Timestamp> {
    match &*outcome.unwrap_err() {
        TokenError::SessionEnded { interrupted, .. } => interrupted.map(|interrupted| interrupted.began_at),
        error => panic!("{error}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_a_killed_process_tells_when_its_refresh_began() {
    let mut world = World::new();
    let (killed, next, later) = (world.process(), world.process(), world.process());
    tokio::time::advance(LIFETIME).await;
    let began_at = world.now();
    let (waiter, call) = refreshing(&mut world, &killed).await;
    call.crash();
    drop(waiter.await);

    tokio::time::advance(Duration::from_hours(3)).await;
    let (waiter, call) = refreshing(&mut world, &next).await;
    call.refuse();
    assert_eq!(blamed(waiter.await.unwrap()), Some(began_at));
    // Whoever learns it from the stamp alone is told the same.
    assert_eq!(blamed(later.current().await), Some(began_at));
    world.expect_no_call().await;
}

#[tokio::test(start_paused = true)]
async fn the_first_of_several_lost_answers_is_the_one_that_is_told() {
    let mut world = World::new();
    let gate = world.process();
    tokio::time::advance(LIFETIME).await;
    let began_at = world.now();
    for _ in 0..2 {
        let (waiter, call) = refreshing(&mut world, &gate).await;
        call.fail(lost(true));
        waiter.await.unwrap().unwrap_err();
        tokio::time::advance(Duration::from_mins(1)).await;
    }
    // That the server was away in between says nothing of those.
    let (waiter, call) = refreshing(&mut world, &gate).await;
    call.fail(lost(false));
    waiter.await.unwrap().unwrap_err();
    tokio::time::advance(Duration::from_mins(1)).await;
    let (waiter, call) = refreshing(&mut world, &gate).await;
    call.refuse();
    assert_eq!(blamed(waiter.await.unwrap()), Some(began_at));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_within_the_refused_refresh_is_told_too() {
    let mut world = World::new();
    let gate = world.process();
    tokio::time::advance(LIFETIME).await;
    let began_at = world.now();
    let (waiter, call) = refreshing(&mut world, &gate).await;
    call.fail(RenewalError::SessionEnded { reason: "Invalid refresh token".into(), unanswered: true });
    assert_eq!(blamed(waiter.await.unwrap()), Some(began_at));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_only_away_is_not_blamed() {
    let mut world = World::new();
    let gate = world.process();
    tokio::time::advance(LIFETIME).await;
    let (waiter, call) = refreshing(&mut world, &gate).await;
    call.fail(lost(false));
    waiter.await.unwrap().unwrap_err();
    tokio::time::advance(Duration::from_mins(1)).await;
    let (waiter, call) = refreshing(&mut world, &gate).await;
    call.refuse();
    assert_eq!(blamed(waiter.await.unwrap()), None);
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_refresh_that_was_made_good_is_forgotten() {
    let mut world = World::new();
    let gate = world.process();
    tokio::time::advance(LIFETIME).await;
    let (waiter, call) = refreshing(&mut world, &gate).await;
    call.fail(lost(true));
    waiter.await.unwrap().unwrap_err();
    let stale_stamp = world.stamp().unwrap();
    tokio::time::advance(Duration::from_mins(1)).await;
    let (waiter, call) = refreshing(&mut world, &gate).await;
    call.succeed();
    waiter.await.unwrap().unwrap();
    assert_eq!(world.stamp().unwrap().renewing, None);

    // The same where the process died between its save and its stamp.
    world.set_stamp(stale_stamp);
    tokio::time::advance(LIFETIME).await;
    let (waiter, call) = refreshing(&mut world, &gate).await;
    settle().await;
    assert_eq!(world.stamp().unwrap().generation, world.stored().unwrap().generation);
    call.refuse();
    assert_eq!(blamed(waiter.await.unwrap()), None);
}
