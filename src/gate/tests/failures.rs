//! Renewals and saves that fail.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;

use super::world::{LIFETIME, World, started, until_stale, wanting};
use crate::error::TokenError;
use crate::gate::RenewalError;

#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_by_all_who_waited_and_remembered_for_a_second() {
    let mut world = World::new();
    let gate = world.process();
    tokio::time::advance(LIFETIME).await;
    let waiters = started(join_all((0..100).map(|_| {
        let gate = gate.clone();
        async move { gate.current().await.unwrap_err() }
    })))
    .await;
    world.call().await.be_away(None);
    let errors = waiters.await.unwrap();
    assert!(errors.iter().all(|error| Arc::ptr_eq(error, &errors[0])));
    assert!(matches!(*errors[0], TokenError::Unavailable { .. }));
    // Who comes within the second gets the same without a call.
    let same = gate.current().await.unwrap_err();
    assert!(Arc::ptr_eq(&same, &errors[0]));
    world.expect_no_call().await;
    assert_eq!(world.stored().unwrap().generation.number(), 1, "the session stands");
    tokio::time::advance(Duration::from_millis(1_001)).await;
    let waiter = wanting(&gate).await;
    world.call().await.succeed();
    assert_eq!(waiter.await.unwrap().unwrap().generation.number(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_remembered_for_other_processes_as_long_as_the_server_asks() {
    let mut world = World::new();
    let (first, second) = (world.process(), world.process());
    tokio::time::advance(LIFETIME).await;
    let waiter = wanting(&first).await;
    world.call().await.be_away(Some(Duration::from_secs(20)));
    waiter.await.unwrap().unwrap_err();
    tokio::time::advance(Duration::from_secs(19)).await;
    let error = second.current().await.unwrap_err();
    assert!(matches!(&*error, TokenError::Unavailable { cause, .. } if cause.to_string().contains("away")), "{error}");
    world.expect_no_call().await;
    tokio::time::advance(Duration::from_secs(2)).await;
    let waiter = wanting(&second).await;
    world.call().await.succeed();
    waiter.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_makes_nobody_wait_for_the_future() {
    let mut world = World::new();
    let (first, second) = (world.process(), world.process());
    tokio::time::advance(LIFETIME * 3).await;
    let waiter = wanting(&first).await;
    world.call().await.be_away(Some(Duration::from_mins(1)));
    waiter.await.unwrap().unwrap_err();
    // The tokens are stale all the same, but now the failure lies in the future: in the stamp, and in memory.
    world.set_clock_by(-100_000);
    let waiter = wanting(&second).await;
    world.call().await.be_away(None);
    waiter.await.unwrap().unwrap_err();
    tokio::time::advance(Duration::from_secs(2)).await;
    let waiter = wanting(&first).await;
    world.call().await.succeed();
    waiter.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_old_token_is_used_while_it_lives_although_its_renewal_fails() {
    let mut world = World::new();
    let gate = world.process();
    until_stale().await;
    let waiter = wanting(&gate).await;
    world.call().await.be_away(None);
    assert_eq!(waiter.await.unwrap().unwrap().generation.number(), 1);
    // Also while the failure is remembered, and no longer than it lives.
    assert_eq!(gate.current().await.unwrap().generation.number(), 1);
    world.expect_no_call().await;
    tokio::time::advance(LIFETIME / 2).await;
    let waiter = wanting(&gate).await;
    world.call().await.be_away(None);
    waiter.await.unwrap().unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_takes_too_long_is_given_up_and_the_session_stands() {
    let mut world = World::new();
    let gate = world.process();
    tokio::time::advance(LIFETIME).await;
    let waiter = wanting(&gate).await;
    let call = world.call().await;
    let before = tokio::time::Instant::now();
    let error = waiter.await.unwrap().unwrap_err();
    assert!(matches!(*error, TokenError::Unavailable { .. }), "{error}");
    assert_eq!(before.elapsed().as_secs(), 30);
    assert!(!world.is_locked());
    assert_eq!(world.stored().unwrap().generation.number(), 1);
    call.succeed();
}

#[tokio::test(start_paused = true)]
async fn a_clear_refusal_ends_the_session_for_everyone_without_another_call() {
    let mut world = World::new();
    let (first, second) = (world.process(), world.process());
    let before = world.stored().unwrap();
    until_stale().await;
    let waiter = wanting(&first).await;
    world.call().await.refuse();
    let error = waiter.await.unwrap().unwrap_err();
    assert!(matches!(*error, TokenError::SessionEnded { .. }), "{error}");
    assert!(world.stored().is_none());
    for gate in [&first, &second] {
        let error = gate.current().await.unwrap_err();
        assert!(matches!(&*error, TokenError::SessionEnded { reason, .. } if reason == "Invalid refresh token"));
    }
    world.expect_no_call().await;
    let revoked = world.revoked();
    assert!(revoked.len() == 1 && revoked[0].is_same_save(&before), "once, in case somebody else goes on with it");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_tokens_that_somebody_renewed_meanwhile_adopts_those() {
    let mut world = World::new();
    let gate = world.process();
    until_stale().await;
    let waiter = wanting(&gate).await;
    let call = world.call().await;
    // A program that shares the store, but not the lock, was faster.
    let old = world.stored().unwrap();
    let newer = crate::token::TokenSet { generation: old.generation.next(), received_at: world.now(), ..old };
    world.put(Some(newer.clone()));
    call.refuse();
    assert!(waiter.await.unwrap().unwrap().is_same_save(&newer));
    assert_eq!((world.shared().clears.load(Ordering::Relaxed), world.revoked().len()), (0, 0));
    assert_eq!(gate.counts().adopted, 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_does_not_clear_the_session_that_somebody_made_meanwhile() {
    let mut world = World::new();
    let gate = world.process();
    until_stale().await;
    let waiter = wanting(&gate).await;
    let call = world.call().await;
    let other = world.log_in();
    call.refuse();
    assert!(matches!(*waiter.await.unwrap().unwrap_err(), TokenError::AccountChanged));
    assert!(world.stored().unwrap().is_same_save(&other));
}

#[tokio::test(start_paused = true)]
async fn a_misconfigured_endpoint_leaves_the_session_and_is_not_asked_again_at_once() {
    let mut world = World::new();
    let gate = world.process();
    tokio::time::advance(LIFETIME).await;
    let waiter = wanting(&gate).await;
    let cause = Arc::new(std::io::Error::other("404"));
    world.call().await.fail(RenewalError::Misconfigured { cause, unanswered: false });
    assert!(matches!(*waiter.await.unwrap().unwrap_err(), TokenError::Misconfigured { .. }));
    gate.current().await.unwrap_err();
    world.expect_no_call().await;
    assert!(world.stored().is_some());
}

#[tokio::test(start_paused = true)]
async fn tokens_that_could_not_be_saved_are_used_and_their_lock_is_kept() {
    let mut world = World::new();
    let gate = world.process();
    until_stale().await;
    world.fail_saves(2);
    let waiter = wanting(&gate).await;
    world.call().await.succeed();
    assert_eq!(waiter.await.unwrap().unwrap().generation.number(), 2);
    assert!(world.is_locked(), "nobody else may redeem the spent token");
    let error = gate.close().await.unwrap_err();
    assert!(matches!(*error, TokenError::Store(_)), "{error}");
    assert!(world.is_locked());
    gate.close().await.unwrap();
    assert!(!world.is_locked());
    assert_eq!(world.stored().unwrap().generation.number(), 2);
    assert_eq!(world.stamp().unwrap().generation.number(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_next_flight_saves_first_what_an_earlier_one_could_not() {
    let mut world = World::new();
    let gate = world.process();
    until_stale().await;
    world.fail_saves(1);
    let waiter = wanting(&gate).await;
    world.call().await.succeed();
    waiter.await.unwrap().unwrap();
    until_stale().await;
    let waiter = wanting(&gate).await;
    let call = world.call().await;
    assert_eq!(call.tokens.generation.number(), 2);
    assert_eq!(world.stored().unwrap().generation.number(), 2, "saved before the request");
    call.succeed();
    assert_eq!(waiter.await.unwrap().unwrap().generation.number(), 3);
    assert!(!world.is_locked());
}

#[tokio::test(start_paused = true)]
async fn in_long_work_the_save_is_tried_again_until_it_succeeds() {
    let mut world = World::new();
    let gate = world.process();
    until_stale().await;
    world.fail_saves(3);
    let waiter = wanting(&gate).await;
    world.call().await.succeed();
    waiter.await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(1_900)).await;
    assert!(world.is_locked());
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert!(!world.is_locked());
    assert_eq!(world.stored().unwrap().generation.number(), 2);
    gate.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_time_that_is_told_is_the_time_for_which_nobody_asks_again() {
    let mut world = World::new();
    let gate = world.process();
    tokio::time::advance(LIFETIME).await;
    let waiter = wanting(&gate).await;
    world.call().await.be_away(Some(Duration::from_hours(24)));
    let error = waiter.await.unwrap().unwrap_err();
    let TokenError::Unavailable { retry_after: Some(told), .. } = *error else { panic!("{error}") };
    tokio::time::advance(told.mul_f64(0.99)).await;
    gate.current().await.unwrap_err();
    world.expect_no_call().await;
    tokio::time::advance(told.mul_f64(0.02)).await;
    let waiter = wanting(&gate).await;
    world.call().await.succeed();
    waiter.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_later_save_that_fails_is_tried_again_as_the_first_one_was() {
    let mut world = World::new();
    let gate = world.process();
    for generation in 2..=3 {
        until_stale().await;
        world.fail_saves(1);
        let waiter = wanting(&gate).await;
        world.call().await.succeed();
        waiter.await.unwrap().unwrap();
        assert!(world.is_locked());
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert!(!world.is_locked());
        assert_eq!(world.stored().unwrap().generation.number(), generation);
    }
}
