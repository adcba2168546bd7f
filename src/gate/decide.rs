//! The gate's decisions, as pure functions of what is known and what the time is.

use std::time::Duration;

use jiff::Timestamp;

use super::stamp::Stamp;
use crate::error::{StoreError, TokenError};
use crate::expiry::{self, Freshness};
use crate::token::{Generation, TokenSet};

/// What a caller asks of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// A token that the clock does not call stale.
    Live,
    /// A token that is good for at least this long.
    ValidFor(Duration),
    /// A newer token than the one of this generation, which a server refused.
    AfterRefusal(Generation),
    /// A newer token than the one of this generation, because a person said so.
    Newer(Generation),
    /// A token that is not in the last part of its life; nobody waits for it.
    Ahead,
}

impl Want {
    /// Returns whether `tokens` is what was asked for, at `now`.
    pub(crate) fn is_met_by(self, tokens: &TokenSet, now: Timestamp) -> bool {
        let freshness = expiry::freshness(tokens.received_at, tokens.access_lifetime, now);
        match self {
            Self::Live => freshness != Freshness::Stale,
            Self::ValidFor(least) => {
                freshness != Freshness::Stale
                    && expiry::remaining(tokens.received_at, tokens.access_lifetime, now)
                        .is_none_or(|remaining| remaining >= least)
            }
            Self::AfterRefusal(refused) => tokens.generation > refused && freshness != Freshness::Stale,
            Self::Newer(old) => tokens.generation > old,
            Self::Ahead => !matches!(freshness, Freshness::Ending | Freshness::Stale),
        }
    }

    /// Returns whether `found`, which another process got since `memory` was loaded, answers this at `now`. Somebody who
    /// wants a long life is content with what the server issues: asking again would bring no other.
    pub(crate) fn is_answered_by(self, found: &TokenSet, memory: &TokenSet, now: Timestamp) -> bool {
        let wants = if matches!(self, Self::ValidFor(_)) && found.is_newer_than(memory) { Self::Live } else { self };
        wants.is_met_by(found, now)
    }

    /// Returns whether tokens of `generation` are no answer to this, whatever the clock says of them.
    pub(crate) fn rules_out(self, generation: Generation) -> bool {
        matches!(self, Self::AfterRefusal(old) | Self::Newer(old) if generation <= old)
    }

    /// Returns whether a refresh of `tokens` for this would answer a refusal that the token's age does not explain.
    /// Such refreshes are rationed: see [`refusal_stands`].
    pub(crate) fn doubts_fresh_token(self, tokens: &TokenSet, now: Timestamp) -> bool {
        self == Self::AfterRefusal(tokens.generation)
            && !expiry::refusal_means_expiry(tokens.received_at, tokens.access_lifetime, now)
    }
}

/// Returns whether the last refresh that a refusal of a fresh token caused is so recent that the next refusal is
/// final. A `refused_at` in the future says nothing: the clock was set back.
pub(crate) fn refusal_stands(refused_at: Option<Timestamp>, tokens: &TokenSet, now: Timestamp) -> bool {
    refused_at
        .and_then(|refused_at| Duration::try_from(now.duration_since(refused_at)).ok())
        .is_some_and(|since| since < tokens.access_lifetime.refusal_window())
}

/// What a flight does next, once it holds the lock and has re-loaded the store.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Another process was faster: its tokens are what was asked for.
    Adopt(TokenSet),
    /// Renew `from`. With `save_first`, `from` is a later state than the store's and goes there before anything else.
    Renew {
        /// What to redeem.
        from: TokenSet,
        /// Whether an earlier save failed.
        save_first: bool,
    },
    /// The store shows less than what is known to have been saved: read it again, and if that does not help, fail.
    Reread(TokenError),
    /// Nothing can be renewed.
    Fail(TokenError),
}

/// Decides from what was re-loaded under the lock: `stored` and `stamp`. `memory` is what this process used last; it
/// serves to recognise its session, and to save what an earlier save could not.
pub(crate) fn plan(
    memory: &TokenSet,
    stored: Option<TokenSet>,
    stamp: Option<&Stamp>,
    want: Want,
    now: Timestamp,
) -> Plan {
    // Generations go on from login to login, so this holds for another session as well: what is shown there is the login
    // before, and not to be renewed, cleared or overwritten.
    if let (Some(stamp), Some(stored)) = (stamp, &stored)
        && stamp.session != stored.session
        && let Some(behind) = stamp.leaves_behind(stored)
    {
        return Plan::Reread(behind.into());
    }
    let stamp = stamp.filter(|stamp| stamp.session == memory.session);
    if let Some(ended) = stamp.and_then(|stamp| stamp.ended.as_ref()) {
        let (reason, interrupted) = (ended.how.to_string(), ended.interrupted());
        return Plan::Fail(TokenError::SessionEnded { reason, interrupted });
    }
    let Some(stored) = stored else {
        // A logout leaves its word in the stamp, so this is none: the store does not show what was saved.
        let missing = stamp.map(|_| StoreError::EntryMissing.into());
        return Plan::Reread(missing.unwrap_or(TokenError::NotLoggedIn));
    };
    if stored.session != memory.session {
        return Plan::Fail(TokenError::AccountChanged);
    }
    let save_first = memory.is_newer_than(&stored);
    let from = if save_first { memory.clone() } else { stored };
    if let Some(behind) = stamp.and_then(|stamp| stamp.leaves_behind(&from)) {
        return Plan::Reread(behind.into());
    }
    if !save_first && want.is_answered_by(&from, memory, now) {
        return Plan::Adopt(from);
    }
    if let Some(failure) = stamp.and_then(|stamp| stamp.standing_failure(from.generation, now)) {
        return Plan::Fail(remembered(failure, now));
    }
    if want.doubts_fresh_token(&from, now) && refusal_stands(stamp.and_then(|stamp| stamp.refused_at), &from, now) {
        return Plan::Fail(TokenError::RefusalStands);
    }
    Plan::Renew { from, save_first }
}

/// Returns the error of a failure that another process, or an earlier flight, noted in the stamp.
pub(crate) fn remembered(failure: &super::stamp::Failure, now: Timestamp) -> TokenError {
    TokenError::Unavailable {
        cause: std::sync::Arc::new(Remembered(failure.what.clone())),
        retry_after: Duration::try_from(failure.until.duration_since(now)).ok(),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0} (a moment ago; not asked again yet)")]
struct Remembered(String);
