//! What becomes of a renewal that brought no tokens: a failure that is remembered, or the end of the session.
//!
//! It is still within the flight: the lock is held until all here is done.

use tokio::time::timeout;
use tracing::debug;

use super::Ports;
use super::flown::{Flown, tell_others};
use super::ports::{Held, REVOCATION_BOUND, RenewalError};
use super::stamp::{self, Ended, Ending, Failure, Stamp};
use crate::error::TokenError;
use crate::expiry;
use crate::token::TokenSet;

/// Returns whether nobody knows what the server did at this renewal.
pub(super) fn leaves_doubt(error: &RenewalError) -> bool {
    match error {
        RenewalError::SessionEnded { unanswered, .. }
        | RenewalError::Transient { unanswered, .. }
        | RenewalError::Misconfigured { unanswered, .. } => *unanswered,
        RenewalError::NothingToRedeem | RenewalError::NotYet { .. } => false,
    }
}

/// `stamp.renewing` tells of a try whose outcome is unknown, if there was one.
pub(super) async fn refused_or_failed(
    ports: &Ports,
    held: Held,
    from: &TokenSet,
    mut stamp: Stamp,
    error: RenewalError,
) -> Flown {
    let now = ports.clock.now();
    let (what, retry_after, unavailable) = match error {
        RenewalError::NothingToRedeem => {
            tell_others(ports, &held, &stamp).await;
            let at_its_end = expiry::refusal_means_expiry(from.received_at, from.access_lifetime, now);
            return Flown::failed(TokenError::NotRenewable { at_its_end });
        }
        RenewalError::NotYet { wait } => {
            tell_others(ports, &held, &stamp).await;
            return Flown::failed(TokenError::NotYetRenewable { wait });
        }
        RenewalError::SessionEnded { reason, .. } => return ended(ports, held, from, stamp, reason).await,
        RenewalError::Transient { cause, retry_after, .. } => (cause.to_string(), retry_after, Ok(cause)),
        RenewalError::Misconfigured { cause, .. } => {
            (cause.to_string(), None, Err(TokenError::Misconfigured { cause }))
        }
    };
    let memory = stamp::failure_memory(retry_after, now);
    let error = unavailable.map_or_else(
        |misconfigured| misconfigured,
        // Told is the time for which nobody asks again, which is not always what the server asked for.
        |cause| TokenError::Unavailable { cause, retry_after: retry_after.map(|_| stamp::length(&memory)) },
    );
    stamp.failure = Some(Failure { generation: from.generation, at: now, until: memory.end, what });
    tell_others(ports, &held, &stamp).await;
    let mut flown = Flown::failed(error);
    flown.arrival.remember = Some(memory);
    flown
}

/// The server refused to renew. Another process may have renewed all the same (one that shares the store but not the
/// lock): then its tokens stand. Only if the very save that was refused is still there is it cleared, and only then may
/// the session be revoked: any of its tokens ends it, also for that other process.
async fn ended(ports: &Ports, held: Held, from: &TokenSet, mut stamp: Stamp, reason: String) -> Flown {
    let now = ports.clock.now();
    let interrupted_at = stamp.renewing.take().map(|renewing| renewing.since);
    let ended = Ended { at: now, how: Ending::Refused(reason.clone()), interrupted_at };
    let error = TokenError::SessionEnded { reason, interrupted: ended.interrupted() };
    match ports.store.load().await {
        Ok(Some(stored)) if stored.is_newer_than(from) => return Flown::adopted(stored),
        // Generations go on from login to login, and only a higher one can be another's.
        Ok(Some(stored)) if stored.generation > from.generation => return Flown::failed(TokenError::AccountChanged),
        // The very save that was refused. Before the tombstone: after a crash in between the next run does both.
        // On the way out too: nobody else would make up for it.
        Ok(Some(stored)) if stored.is_same_save(from) => revoke_for_others(ports, from).await,
        // An older state, or the time before, that the store still shows.
        Ok(_) => {}
        Err(error) => return Flown::failed(error.into()),
    }
    debug!(%error, "the server has ended the session");
    match from.refresh_token_expires_at() {
        Some(end) if end <= now => debug!("by its lifetime the refresh token had expired at {end}"),
        Some(end) => debug!(
            "by its lifetime the refresh token was good until {end}: it was revoked, used by another, or is another server's"
        ),
        None => debug!("how long the refresh token was good, its server had not said"),
    }
    // The tombstone first: a crash between the two leaves an entry that nobody tries to renew.
    stamp.ended = Some(ended);
    let cleared = async {
        ports.rendezvous.set_stamp(&held, &stamp).await?;
        ports.store.clear(&held).await
    };
    if let Err(error) = cleared.await {
        debug!(%error, "could not clear the ended session");
    }
    Flown::failed(error)
}

/// Ends what a thief may have made of a copy of the store. The session is over for us whatever comes of it.
async fn revoke_for_others(ports: &Ports, from: &TokenSet) {
    match timeout(REVOCATION_BOUND, ports.renewal.revoke_refused(from)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "could not revoke the session, in case somebody else goes on with it"),
        Err(_) => debug!("gave up revoking the session, in case somebody else goes on with it"),
    }
}
