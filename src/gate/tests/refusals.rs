//! Refused requests: stragglers, and refusals that are not about expiry.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::SignedDuration;

use super::world::{LIFETIME, World, refused, started};
use crate::error::TokenError;

#[tokio::test(start_paused = true)]
async fn ten_refusals_before_during_and_up_to_thirty_seconds_after_the_refresh_cost_one() {
    let mut world = World::new();
    let gate = world.process();
    let used = gate.snapshot().generation;
    tokio::time::advance(LIFETIME).await;
    let early = [refused(&gate, used).await, refused(&gate, used).await, refused(&gate, used).await];
    let call = world.call().await;
    let late = refused(&gate, used).await;
    call.succeed();
    for waiter in join_all(early.into_iter().chain([late])).await {
        assert_eq!(waiter.unwrap().unwrap().generation, used.next());
    }
    for _ in 0..6 {
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(gate.refresh_after(used).await.unwrap().generation, used.next());
    }
    world.expect_no_call().await;
}

#[tokio::test(start_paused = true)]
async fn a_straggler_of_long_ago_gets_a_live_token_not_a_dead_one() {
    let mut world = World::new();
    let gate = world.process();
    let first = gate.snapshot().generation;
    tokio::time::advance(LIFETIME).await;
    let waiter = refused(&gate, first).await;
    world.call().await.succeed();
    waiter.await.unwrap().unwrap();
    // By now the second generation is dead too: it must be replaced, not handed out.
    tokio::time::advance(LIFETIME).await;
    let straggler = refused(&gate, first).await;
    world.call().await.succeed();
    assert_eq!(straggler.await.unwrap().unwrap().generation, first.next().next());
}

#[tokio::test(start_paused = true)]
async fn a_refused_fresh_token_is_refreshed_once_and_then_the_refusal_stands() {
    let mut world = World::new();
    let gate = world.process();
    let revoked = refused(&gate, gate.snapshot().generation).await;
    world.call().await.succeed();
    let second = revoked.await.unwrap().unwrap().generation;
    // The new token is refused too, at once and again a while later: no refresh, and no look into the store for it.
    let loads = world.shared().loads.load(Ordering::Relaxed);
    for _ in 0..2 {
        let error = gate.refresh_after(second).await.unwrap_err();
        assert!(matches!(*error, TokenError::RefusalStands), "{error}");
        tokio::time::advance(Duration::from_secs(14)).await;
    }
    world.expect_no_call().await;
    assert_eq!(world.shared().loads.load(Ordering::Relaxed), loads);
    // Half a lifetime or thirty seconds later, whichever is less, another refresh is worth a try.
    tokio::time::advance(Duration::from_secs(3)).await;
    let third = refused(&gate, second).await;
    world.call().await.succeed();
    assert_eq!(third.await.unwrap().unwrap().generation, second.next());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_in_another_process_counts_too() {
    let mut world = World::new();
    let first = world.process();
    let waiter = refused(&first, first.snapshot().generation).await;
    world.call().await.succeed();
    waiter.await.unwrap().unwrap();
    let second = world.process();
    let error = second.refresh_after(second.snapshot().generation).await.unwrap_err();
    assert!(matches!(*error, TokenError::RefusalStands), "{error}");
    world.expect_no_call().await;
    assert!(!world.is_locked());
}

#[tokio::test(start_paused = true)]
async fn refusals_of_tokens_at_their_end_are_not_rationed() {
    let mut world = World::new();
    let gate = world.process();
    for _ in 0..3 {
        let used = gate.snapshot().generation;
        tokio::time::advance(Duration::from_millis(1_500)).await;
        let waiter = refused(&gate, used).await;
        // A lifetime of two seconds that a server counts from a rounded-down second dies up to a second early.
        world.call().await.succeed_for(Duration::from_secs(2));
        assert_eq!(waiter.await.unwrap().unwrap().generation, used.next());
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_back_makes_no_storm() {
    let mut world = World::new();
    world.set_clock_by(SignedDuration::from_hours(-24).as_millis().try_into().unwrap());
    let gate = world.process();
    // Received "in the future": used as it is.
    for _ in 0..10 {
        assert_eq!(gate.current().await.unwrap().generation.number(), 1);
    }
    world.expect_no_call().await;
    let waiter = refused(&gate, gate.snapshot().generation).await;
    world.call().await.succeed();
    waiter.await.unwrap().unwrap();
    for _ in 0..10 {
        assert_eq!(gate.current().await.unwrap().generation.number(), 2);
    }
    world.expect_no_call().await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_a_day_ahead_costs_one_refresh() {
    let mut world = World::new();
    let gate = world.process();
    world.set_clock_by(SignedDuration::from_hours(24).as_millis().try_into().unwrap());
    let waiter = started({
        let gate = gate.clone();
        async move { gate.current().await }
    })
    .await;
    world.call().await.succeed();
    waiter.await.unwrap().unwrap();
    for _ in 0..10 {
        assert_eq!(gate.current().await.unwrap().generation.number(), 2);
    }
    world.expect_no_call().await;
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_failed_does_not_make_the_next_refusal_final() {
    let mut world = World::new();
    let gate = world.process();
    let used = gate.snapshot().generation;
    let revoked = refused(&gate, used).await;
    world.call().await.be_away(None);
    assert!(matches!(*revoked.await.unwrap().unwrap_err(), TokenError::Unavailable { .. }));
    tokio::time::advance(Duration::from_secs(2)).await;
    let again = refused(&gate, used).await;
    world.call().await.succeed();
    assert_eq!(again.await.unwrap().unwrap().generation, used.next());
}

#[tokio::test(start_paused = true)]
async fn without_a_refresh_token_nothing_is_renewed_and_nothing_is_cleared() {
    let mut world = World::new();
    let gate = world.process();
    let used = gate.snapshot().generation;
    let waiter = refused(&gate, used).await;
    world.call().await.fail(crate::gate::RenewalError::NothingToRedeem);
    assert!(matches!(*waiter.await.unwrap().unwrap_err(), TokenError::NotRenewable { at_its_end: false }));
    assert!(world.stored().is_some());
    // At its end by the clock it is over for now, but not for good.
    tokio::time::advance(LIFETIME).await;
    let waiter = started({
        let gate = gate.clone();
        async move { gate.current().await }
    })
    .await;
    world.call().await.fail(crate::gate::RenewalError::NothingToRedeem);
    assert!(matches!(*waiter.await.unwrap().unwrap_err(), TokenError::NotRenewable { at_its_end: true }));
    assert!(world.stored().is_some() && world.stamp().unwrap().ended.is_none());
    assert!(world.stamp().unwrap().renewing.is_none(), "nothing is under way any more");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_that_is_not_good_yet_costs_nothing_and_is_tried_again_when_it_is() {
    let mut world = World::new();
    let gate = world.process();
    let used = gate.snapshot().generation;
    let wait = Duration::from_secs(7);
    let waiter = refused(&gate, used).await;
    world.call().await.fail(crate::gate::RenewalError::NotYet { wait });
    let error = waiter.await.unwrap().unwrap_err();
    assert!(matches!(*error, TokenError::NotYetRenewable { wait: told } if told == wait), "{error}");
    assert!(error.leaves_session_usable());
    assert!(world.stored().is_some() && world.stamp().is_none_or(|stamp| stamp.renewing.is_none()));
    tokio::time::advance(LIFETIME).await;
    let again = started(async move { gate.current().await }).await;
    world.call().await.succeed();
    assert_eq!(again.await.unwrap().unwrap().generation, used.next());
}
