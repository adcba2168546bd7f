//! One flight: renew the tokens once for all processes that share the credential.
//!
//! The order is what keeps a session alive: the process lock, then the store read *again*, then a decision from what
//! was read (never from what was known before), then the request, then the save, then the stamp, and only then the
//! lock is let go. A flight runs in a task of its own; nobody who waits for it can cancel it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::Ports;
use super::decide::{self, Plan, Want};
use super::flown::{Flown, Source, Unsaved, tell_others};
use super::ports::{Held, LOCK_BOUND, RENEWAL_BOUND, RenewalError, WayOut};
use super::setback::{leaves_doubt, refused_or_failed};
use super::stamp::{Renewing, Stamp};
use crate::error::{StoreError, TokenError};
use crate::token::{AttemptKey, IssuedTokens, TokenSet};

const SHORTEST_POLL: Duration = Duration::from_millis(20);
const LONGEST_POLL: Duration = Duration::from_millis(100);
/// How often a store that shows less than it should is read again, and how far apart.
const REREADS: u32 = 4;
const REREAD_PAUSE: Duration = Duration::from_millis(50);

/// Flies: returns tokens newer than `memory`, or why there are none. `parked` is what an earlier flight could not save,
/// with its lock. On the way out a flight that has sent nothing yet gives up.
pub(super) async fn fly(
    ports: &Ports,
    memory: &TokenSet,
    want: Want,
    parked: Option<Unsaved>,
    way_out: &WayOut,
) -> Flown {
    debug!(generation = memory.generation.number(), ?want, "refresh wanted");
    let held = match parked {
        Some(parked) => match parked.save(ports).await {
            Ok(held) => held,
            Err(parked) => return Flown::still_unsaved(parked),
        },
        None => match lock(ports, memory, want, way_out).await {
            Ok(held) => held,
            Err(flown) => return *flown,
        },
    };
    let stamp = ports.rendezvous.stamp().await;
    let (from, save_first) = match reload(ports, memory, stamp.as_ref(), want).await {
        Ok(Plan::Renew { from, save_first }) => (from, save_first),
        Ok(Plan::Adopt(tokens)) if tokens.is_newer_than(memory) => return Flown::adopted(tokens),
        Ok(Plan::Adopt(tokens)) => return Flown::with(Ok(Arc::new(tokens))),
        Ok(Plan::Fail(error) | Plan::Reread(error)) | Err(error) => {
            let mut flown = Flown::failed(error);
            flown.arrival.refused_at = stamp.and_then(|stamp| stamp.about(memory)).and_then(|stamp| stamp.refused_at);
            return flown;
        }
    };
    let stamp = stamp.and_then(|stamp| stamp.about(memory)).unwrap_or_else(|| Stamp::of(&from)).caught_up_with(&from);
    if save_first {
        if let Err(error) = ports.store.save(&held, &from).await {
            // Nothing is renewed, so nobody gets as new what this process has already.
            return Flown::still_unsaved(Unsaved::new(held, Arc::new(from), stamp.refused_at, error));
        }
        // Now, because the flight may end before it has a stamp of its own to write.
        tell_others(ports, &held, &stamp).await;
    }
    renew(ports, held, from, stamp, want, way_out).await
}

/// Takes the process lock, or finds out without it that another process did the work or failed at it.
async fn lock(ports: &Ports, memory: &TokenSet, want: Want, way_out: &WayOut) -> Result<Held, Box<Flown>> {
    let start = Instant::now();
    let mut told = false;
    loop {
        if way_out.has_begun() {
            return Err(Box::new(Flown::failed(TokenError::Closing)));
        }
        match ports.rendezvous.try_lock().await {
            Ok(Some(held)) => return Ok(held),
            Ok(None) => {}
            Err(error) => return Err(Box::new(Flown::failed(error))),
        }
        if !told {
            told = true;
            debug!("waiting for another process's refresh");
        }
        if let Some(flown) = settled_elsewhere(ports, memory, want).await {
            return Err(Box::new(flown));
        }
        let waited = start.elapsed();
        if waited >= LOCK_BOUND {
            let holder = ports.rendezvous.holder().await;
            let error = TokenError::LockBusy { holder: holder.pid, path: holder.path, waited };
            return Err(Box::new(Flown::failed(error)));
        }
        // Jittered, so that a crowd of processes does not come back in step.
        let pause = rand::random_range(SHORTEST_POLL..LONGEST_POLL);
        way_out.begins_within(pause.min(LOCK_BOUND.saturating_sub(waited))).await;
    }
}

/// Looks at the stamp without the lock. Where it tells that the holder has finished, what it saved is read, so that
/// sixty waiters do not take the lock one after the other for nothing.
async fn settled_elsewhere(ports: &Ports, memory: &TokenSet, want: Want) -> Option<Flown> {
    let stamp = ports.rendezvous.stamp().await?.about(memory)?;
    let now = ports.clock.now();
    if let Some(failure) = stamp.standing_failure(memory.generation, now) {
        return Some(Flown::failed(decide::remembered(failure, now)));
    }
    if stamp.generation <= memory.generation {
        return None;
    }
    let stored = ports.store.load().await.ok()??;
    (stored.is_newer_than(memory) && want.is_answered_by(&stored, memory, now)).then(|| Flown::adopted(stored))
}

/// Reads the store again under the lock and decides from that alone.
async fn reload(ports: &Ports, memory: &TokenSet, stamp: Option<&Stamp>, want: Want) -> Result<Plan, TokenError> {
    let mut tries = 0;
    loop {
        let stored = ports.store.load().await?;
        let plan = decide::plan(memory, stored, stamp, want, ports.clock.now());
        if !matches!(plan, Plan::Reread(_)) || tries == REREADS {
            return Ok(plan);
        }
        tries += 1;
        sleep(REREAD_PAUSE).await;
    }
}

async fn renew(ports: &Ports, held: Held, from: TokenSet, mut stamp: Stamp, want: Want, way_out: &WayOut) -> Flown {
    if way_out.has_begun() {
        return Flown::failed(TokenError::Closing);
    }
    let started = ports.clock.now();
    let doubted = want.doubts_fresh_token(&from, started);
    let refused_at = doubted.then_some(started).or(stamp.refused_at);
    // Whatever can fail without the network fails before the only copy of the refresh token is spent.
    let next_key = match AttemptKey::random() {
        Ok(key) => key,
        Err(missing) => {
            return Flown::failed(TokenError::Misconfigured { cause: Arc::new(missing) });
        }
    };
    let left_behind = stamp.renewing.take();
    // The first of several tries whose outcome nobody knows is the one that may have spent the token.
    let since = left_behind.as_ref().map_or(started, |earlier| earlier.since);
    stamp.renewing = Some(Renewing { pid: std::process::id(), since });
    let ready = async {
        ports.store.prove_writable(&held).await?;
        ports.rendezvous.set_stamp(&held, &stamp).await
    };
    if let Err(error) = ready.await {
        return Flown::failed(error.into());
    }
    let answer = match timeout(RENEWAL_BOUND, ports.renewal.renew(&from, way_out)).await {
        Ok(answer) => answer,
        Err(_) => Err(RenewalError::Transient { cause: Arc::new(TimedOut), retry_after: None, unanswered: true }),
    };
    match answer {
        Ok(issued) => keep(ports, held, &from, issued, refused_at, next_key).await,
        Err(error) => {
            if !leaves_doubt(&error) {
                stamp.renewing = left_behind;
            }
            refused_or_failed(ports, held, &from, stamp, error).await
        }
    }
}

/// Saves what was issued, then says so in the stamp; the lock goes with the end of this function.
async fn keep(
    ports: &Ports,
    held: Held,
    from: &TokenSet,
    issued: IssuedTokens,
    refused_at: Option<Timestamp>,
    next_key: AttemptKey,
) -> Flown {
    let tokens = from.succeeded_by(issued, ports.clock.now(), next_key);
    if let Err(error) = ports.store.save(&held, &tokens).await {
        let mut flown = unsaved(held, tokens, refused_at, error);
        flown.source = Some(Source::Renewed);
        flown.arrival.refused_at = refused_at;
        return flown;
    }
    let stamp = Stamp { refused_at, ..Stamp::of(&tokens) };
    tell_others(ports, &held, &stamp).await;
    debug!(generation = tokens.generation.number(), "refreshed");
    let mut flown = Flown { source: Some(Source::Renewed), ..Flown::with(Ok(Arc::new(tokens))) };
    flown.arrival.refused_at = refused_at;
    flown
}

fn unsaved(held: Held, tokens: TokenSet, refused_at: Option<Timestamp>, error: StoreError) -> Flown {
    debug!(generation = tokens.generation.number(), %error, "the new tokens could not be saved");
    let tokens = Arc::new(tokens);
    let unsaved = Unsaved::new(held, Arc::clone(&tokens), refused_at, error);
    Flown { unsaved: Some(unsaved), ..Flown::with(Ok(tokens)) }
}

/// The time for the whole renewal ran out.
#[derive(Debug, thiserror::Error)]
#[error("no answer came within {} s", RENEWAL_BOUND.as_secs())]
struct TimedOut;
