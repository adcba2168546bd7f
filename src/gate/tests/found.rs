//! Faults that random interleavings brought to light.

use std::time::Duration;

use super::world::{LIFETIME, World, refused, settle, started, until_stale, wanting};
use crate::error::{StoreError, TokenError};
use crate::token::{Generation, TokenSet};

/// A flight may find that what it was to replace is good after all. That answers those who found it stale by the
/// clock, but not those to whom a server refused it.
#[tokio::test(start_paused = true)]
async fn who_was_refused_does_not_get_the_same_from_a_flight_that_somebody_else_started() {
    let mut world = World::new();
    let gate = world.process();
    until_stale().await;
    let held = world.hold_lock();
    let waiter = wanting(&gate).await;
    let refused = refused(&gate, Generation::FIRST).await;
    // While they wait for the lock the clock is set back: now the token was received "in the future".
    world.set_clock_by(-1_000_000);
    drop(held);
    tokio::time::advance(Duration::from_millis(200)).await;
    settle().await;
    assert_eq!(waiter.await.unwrap().unwrap().generation.number(), 1);
    world.call().await.succeed();
    assert_eq!(refused.await.unwrap().unwrap().generation.number(), 2);
}

/// A store that fell back, and that does not take what memory holds.
#[tokio::test(start_paused = true)]
async fn a_save_that_fails_before_the_request_is_no_new_token() {
    let mut world = World::new();
    let old = world.stored().unwrap();
    let gate = world.process();
    let waiter = started({
        let gate = gate.clone();
        async move { gate.refresh_now(old.generation).await }
    })
    .await;
    world.call().await.succeed();
    waiter.await.unwrap().unwrap();
    let kept = world.stored().unwrap();
    world.put(Some(TokenSet { generation: Generation::FIRST, ..kept.clone() }));
    tokio::time::advance(LIFETIME * 2).await;
    world.fail_saves(1);
    let error = refused(&gate, kept.generation).await.await.unwrap().expect_err("that is the token that was refused");
    assert!(matches!(*error, TokenError::Store(_)), "{error}");
    assert!(world.is_locked(), "what is unsaved keeps its lock");
    world.expect_no_call().await;
}

/// The store shows an old session although the stamp knows of a later login.
#[tokio::test(start_paused = true)]
async fn a_session_that_a_later_login_replaced_is_not_renewed_from_a_store_that_lags() {
    let mut world = World::new();
    let gate = world.process();
    let old = world.stored().unwrap();
    world.log_in();
    // A write of another process that is not visible here yet.
    world.put(Some(old.clone()));
    assert_eq!(world.stamp().unwrap().generation, old.generation.next());
    tokio::time::advance(LIFETIME).await;
    let waiter = wanting(&gate).await;
    let error = waiter.await.unwrap().unwrap_err();
    assert!(matches!(*error, TokenError::Store(StoreError::Behind { found: 1, expected: 2, .. })), "{error}");
    world.expect_no_call().await;
}

/// A refusal is the end of the session also where the store, read again, shows an older save of it, or none yet.
#[tokio::test(start_paused = true)]
async fn a_refusal_with_a_store_that_lags_ends_the_session() {
    for shows_older in [true, false] {
        let mut world = World::new();
        let gate = world.process();
        let old = world.stored().unwrap();
        tokio::time::advance(LIFETIME).await;
        let waiter = wanting(&gate).await;
        world.call().await.succeed();
        waiter.await.unwrap().unwrap();
        tokio::time::advance(LIFETIME).await;
        let waiter = wanting(&gate).await;
        let call = world.call().await;
        world.put(shows_older.then_some(old));
        call.refuse();
        let error = waiter.await.unwrap().unwrap_err();
        assert!(matches!(*error, TokenError::SessionEnded { .. }), "{error}");
        assert!(world.stamp().unwrap().ended.is_some(), "nobody needs to ask the server again");
    }
}

/// A process died between its save and its stamp. The next one, though its renewal fails, tells what it found.
#[tokio::test(start_paused = true)]
async fn a_flight_brings_the_stamp_up_to_what_it_found_stored() {
    let mut world = World::new();
    let gate = world.process();
    let old = world.stored().unwrap();
    world.put(Some(TokenSet { generation: old.generation.next(), ..old.clone() }));
    tokio::time::advance(LIFETIME).await;
    let waiter = wanting(&gate).await;
    world.call().await.be_away(None);
    waiter.await.unwrap().unwrap_err();
    assert_eq!(world.stamp().unwrap().generation, old.generation.next());
}
