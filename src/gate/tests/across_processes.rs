//! One refresh for several processes, and nothing newer lost.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;

use super::world::{LIFETIME, World, settle, started, until_stale, wanting};
use crate::error::{StoreError, TokenError};
use crate::gate::{Ended, Ending, GateCounts, RefreshGate, Stamp};

#[tokio::test(start_paused = true)]
async fn sixteen_processes_share_one_refresh() {
    let mut world = World::new();
    let gates: Vec<RefreshGate> = (0..16).map(|_| world.process()).collect();
    until_stale().await;
    let mut waiters = Vec::new();
    for gate in &gates {
        waiters.push(wanting(gate).await);
    }
    world.call().await.succeed();
    let all = join_all(waiters).await;
    assert!(all.into_iter().all(|tokens| tokens.unwrap().unwrap().generation.number() == 2));
    world.expect_no_call().await;
    let refreshes: u64 = gates.iter().map(|gate| gate.counts().refreshes).sum();
    let adopted: u64 = gates.iter().map(|gate| gate.counts().adopted).sum();
    assert_eq!((refreshes, adopted), (1, 15));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_comes_late_adopts_without_a_call() {
    let mut world = World::new();
    let (early, late) = (world.process(), world.process());
    until_stale().await;
    let waiter = wanting(&early).await;
    world.call().await.succeed();
    waiter.await.unwrap().unwrap();
    let tokens = late.current().await.unwrap();
    assert_eq!(tokens.generation.number(), 2);
    assert_eq!(late.counts(), GateCounts { refreshes: 0, adopted: 1 });
    world.expect_no_call().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_redeemed_is_what_was_read_under_the_lock() {
    let mut world = World::new();
    let (first, second) = (world.process(), world.process());
    until_stale().await;
    let waiter = wanting(&first).await;
    world.call().await.succeed();
    waiter.await.unwrap().unwrap();
    // The second process still knows generation 1 only, and by now generation 2 is stale as well.
    until_stale().await;
    let waiter = wanting(&second).await;
    let call = world.call().await;
    assert_eq!(call.tokens.generation.number(), 2, "the caller's own token must not be redeemed");
    call.succeed();
    assert_eq!(waiter.await.unwrap().unwrap().generation.number(), 3);
}

#[tokio::test(start_paused = true)]
async fn another_login_is_neither_adopted_nor_overwritten() {
    let mut world = World::new();
    let gate = world.process();
    let other = world.log_in();
    until_stale().await;
    let error = gate.current().await.unwrap_err();
    assert!(matches!(*error, TokenError::AccountChanged), "{error}");
    world.expect_no_call().await;
    assert!(world.stored().unwrap().is_same_save(&other));
    // For good: the tokens of the other login are not this process's.
    gate.current().await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_logout_elsewhere_stays_a_logout() {
    let mut world = World::new();
    let gate = world.process();
    let tokens = world.stored().unwrap();
    world.put(None);
    let ended = Some(Ended { at: world.now(), how: Ending::LoggedOut, interrupted_at: None });
    crate::gate::Rendezvous::set_stamp(world.shared(), &world.hold_lock(), &Stamp { ended, ..Stamp::of(&tokens) })
        .await
        .unwrap();
    until_stale().await;
    let error = gate.current().await.unwrap_err();
    assert!(matches!(&*error, TokenError::SessionEnded { reason, .. } if reason == "logged out"), "{error}");
    world.expect_no_call().await;
    assert!(world.stored().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_lock_held_past_the_bound_is_an_error_without_a_call() {
    let mut world = World::new();
    let gate = world.process();
    tokio::time::advance(LIFETIME).await;
    let held = world.hold_lock();
    let before = tokio::time::Instant::now();
    let error = gate.current().await.unwrap_err();
    assert!(matches!(*error, TokenError::LockBusy { holder: Some(7), .. }), "{error}");
    assert!((45..47).contains(&before.elapsed().as_secs()), "{:?}", before.elapsed());
    // Who comes next does not wait all that time again.
    let before = tokio::time::Instant::now();
    gate.current().await.unwrap_err();
    assert_eq!(before.elapsed(), Duration::ZERO);
    world.expect_no_call().await;
    drop(held);
    tokio::time::advance(Duration::from_secs(2)).await;
    let waiter = wanting(&gate).await;
    world.call().await.succeed();
    waiter.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_dies_lets_the_next_one_proceed_with_the_same_attempt_key() {
    let mut world = World::new();
    let (dying, next) = (world.process(), world.process());
    until_stale().await;
    let waiter = wanting(&dying).await;
    let lost = world.call().await;
    let key = lost.tokens.attempt_key.expose().to_owned();
    // The process is gone, its request sent, its answer lost: only the lock tells.
    lost.crash();
    drop(waiter.await);
    let waiter = wanting(&next).await;
    let call = world.call().await;
    assert_eq!(call.tokens.attempt_key.expose(), key);
    call.succeed();
    waiter.await.unwrap().unwrap();
    assert_ne!(world.stored().unwrap().attempt_key.expose(), key, "the next redemption has a key of its own");
}

#[tokio::test(start_paused = true)]
async fn a_store_behind_its_stamp_is_read_again_and_never_renewed_from() {
    let mut world = World::new();
    let gate = world.process();
    let old = world.stored().unwrap();
    let newer = Stamp { generation: old.generation.next(), ..Stamp::of(&old) };
    crate::gate::Rendezvous::set_stamp(world.shared(), &world.hold_lock(), &newer).await.unwrap();
    tokio::time::advance(LIFETIME).await;
    let error = gate.current().await.unwrap_err();
    assert!(matches!(*error, TokenError::Store(StoreError::Behind { found: 1, expected: 2, .. })), "{error}");
    assert!(world.shared().loads.load(Ordering::Relaxed) > 1);
    world.expect_no_call().await;
}

#[tokio::test(start_paused = true)]
async fn a_write_that_becomes_visible_late_is_waited_for() {
    let mut world = World::new();
    let gate = world.process();
    let old = world.stored().unwrap();
    let newer = Stamp { generation: old.generation.next(), ..Stamp::of(&old) };
    crate::gate::Rendezvous::set_stamp(world.shared(), &world.hold_lock(), &newer).await.unwrap();
    until_stale().await;
    let waiter = wanting(&gate).await;
    let late = crate::token::TokenSet { generation: old.generation.next(), received_at: world.now(), ..old };
    world.put(Some(late.clone()));
    assert!(waiter.await.unwrap().unwrap().is_same_save(&late));
    world.expect_no_call().await;
}

#[tokio::test(start_paused = true)]
async fn a_memory_ahead_of_the_store_is_saved_before_it_is_renewed() {
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
    // The store falls back by one save, as a keyring that was restored.
    let kept = world.stored().unwrap();
    world.put(Some(crate::token::TokenSet { generation: crate::token::Generation::FIRST, ..kept.clone() }));
    until_stale().await;
    let waiter = wanting(&gate).await;
    let call = world.call().await;
    assert_eq!(call.tokens.generation.number(), 2);
    assert!(world.stored().unwrap().is_same_save(&kept), "saved before the request");
    call.succeed();
    assert_eq!(waiter.await.unwrap().unwrap().generation.number(), 3);
}

#[tokio::test(start_paused = true)]
async fn waiters_for_the_lock_see_the_stamp_move_and_need_no_lock() {
    let mut world = World::new();
    let (flying, waiting) = (world.process(), world.process());
    until_stale().await;
    let first = wanting(&flying).await;
    let call = world.call().await;
    let second = wanting(&waiting).await;
    call.succeed();
    first.await.unwrap().unwrap();
    // Somebody else takes the lock at once and keeps it; the waiter must get by without it.
    settle().await;
    let held = if world.is_locked() { None } else { Some(world.hold_lock()) };
    let tokens = tokio::time::timeout(Duration::from_secs(1), second).await.expect("no lock needed").unwrap().unwrap();
    assert_eq!(tokens.generation.number(), 2);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn on_the_way_out_a_flight_that_waits_for_the_lock_gives_up() {
    let mut world = World::new();
    let gate = world.process();
    tokio::time::advance(LIFETIME).await;
    let held = world.hold_lock();
    let waiter = wanting(&gate).await;
    let before = tokio::time::Instant::now();
    gate.close().await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    assert!(matches!(*waiter.await.unwrap().unwrap_err(), TokenError::Closing));
    drop(held);
    world.expect_no_call().await;
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_vanishes_without_a_logout_ends_no_session() {
    let mut world = World::new();
    let gate = world.process();
    tokio::time::advance(LIFETIME).await;
    let kept = world.stored();
    world.put(None);
    let error = gate.current().await.unwrap_err();
    assert!(matches!(*error, TokenError::Store(StoreError::EntryMissing)), "{error}");
    world.expect_no_call().await;
    // The keyring was unlocked.
    world.put(kept);
    tokio::time::advance(Duration::from_secs(2)).await;
    let waiter = wanting(&gate).await;
    world.call().await.succeed();
    waiter.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn processes_that_want_a_longer_life_than_the_server_gives_share_one_refresh_too() {
    let mut world = World::new();
    let gates: Vec<RefreshGate> = (0..16).map(|_| world.process()).collect();
    let mut waiters = Vec::new();
    for gate in gates {
        waiters.push(started(async move { gate.valid_for(LIFETIME * 2).await }).await);
    }
    world.call().await.succeed();
    for tokens in join_all(waiters).await {
        assert_eq!(tokens.unwrap().unwrap().generation.number(), 2);
    }
    world.expect_no_call().await;
}
