//! What becomes of the session itself when its server refuses to renew it: others may go on with it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::world::{World, started, until_stale, wanting};
use crate::error::TokenError;
use crate::gate::{REVOCATION_BOUND, RenewalError};

fn is_ended(error: &TokenError) -> bool {
    matches!(error, TokenError::SessionEnded { .. })
}

#[tokio::test(start_paused = true)]
async fn it_is_revoked_on_the_way_out_too() {
    let mut world = World::new();
    let gate = world.process();
    until_stale().await;
    let waiter = wanting(&gate).await;
    let call = world.call().await;
    let way_out = started(async move { gate.close().await }).await;
    call.refuse();
    drop(waiter.await);
    way_out.await.unwrap().unwrap();
    assert_eq!(world.revoked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_shows_something_else_than_what_was_refused_revokes_nothing() {
    let mut world = World::new();
    let gate = world.process();
    until_stale().await;
    let waiter = wanting(&gate).await;
    let call = world.call().await;
    world.put(None);
    call.refuse();
    assert!(is_ended(&waiter.await.unwrap().unwrap_err()));
    assert_eq!(world.revoked().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_ends_no_session_revokes_none() {
    let mut world = World::new();
    let gate = world.process();
    let cause = || Arc::new(std::io::Error::other("nonsense"));
    for error in [
        RenewalError::NothingToRedeem,
        RenewalError::NotYet { wait: Duration::from_secs(5) },
        RenewalError::Transient { cause: cause(), retry_after: None, unanswered: true },
        RenewalError::Misconfigured { cause: cause(), unanswered: false },
    ] {
        tokio::time::advance(Duration::from_secs(1000)).await;
        let waiter = wanting(&gate).await;
        world.call().await.fail(error);
        waiter.await.unwrap().unwrap_err();
    }
    assert_eq!(world.revoked().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_hangs_is_given_up_and_the_session_is_over_all_the_same() {
    let mut world = World::new();
    let gate = world.process();
    world.shared().revocations_hang.store(true, Ordering::Relaxed);
    until_stale().await;
    let waiter = wanting(&gate).await;
    let before = tokio::time::Instant::now();
    world.call().await.refuse();
    assert!(is_ended(&waiter.await.unwrap().unwrap_err()));
    assert_eq!(before.elapsed().as_secs(), REVOCATION_BOUND.as_secs());
    assert!(world.stored().is_none() && !world.is_locked());
}
