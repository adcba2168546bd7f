//! The stamp: what processes tell each other beside the lock. It holds no secret.
//!
//! Of another session's stamp only its generation counts: generations go on from login to login, so it tells a store that
//! still shows the login before.

use std::ops::Range;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Interrupted, StoreError};
use crate::token::{Generation, SessionId, TokenSet};

/// Failures are remembered at least this long, so that a crowd that failed together does not ask again at once.
const SHORTEST_FAILURE_MEMORY: Duration = Duration::from_secs(1);
/// A `Retry-After` beyond this is not obeyed to the letter: a person who mends the server should not wait for hours.
const LONGEST_FAILURE_MEMORY: Duration = Duration::from_mins(10);

/// What is known of a session across processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamp {
    /// The session that all else is about.
    pub session: SessionId,
    /// The latest generation that was saved.
    pub generation: Generation,
    /// The last failed renewal, while it is of use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// When a refusal of a fresh token last caused a refresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_at: Option<Timestamp>,
    /// Set while a renewal of this generation is under way, and left behind where nobody knows what it came to: its
    /// process was killed, or its answer was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewing: Option<Renewing>,
    /// Set when the session is over: nobody needs to ask the server again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

/// A renewal that failed without ending the session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The generation that was to be replaced.
    pub generation: Generation,
    /// When it failed.
    pub at: Timestamp,
    /// Until when the next one need not be tried.
    pub until: Timestamp,
    /// What happened, in one line.
    pub what: String,
}

/// A renewal under way, or one that nobody knows the outcome of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Renewing {
    /// Which process was at it last.
    pub pid: u32,
    /// Since when: the first of all tries whose outcome is unknown.
    pub since: Timestamp,
}

/// The end of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// When it ended.
    pub at: Timestamp,
    /// How.
    pub how: Ending,
    /// When a refresh began that was interrupted, and is the likely cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted_at: Option<Timestamp>,
}

impl Ended {
    /// Returns the interrupted refresh that is the likely cause, for messages.
    pub fn interrupted(&self) -> Option<Interrupted> {
        self.interrupted_at.map(|began_at| Interrupted { began_at })
    }
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// A person logged out.
    LoggedOut,
    /// The server refused to renew it, in these words.
    Refused(String),
}

impl std::fmt::Display for Ending {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LoggedOut => formatter.write_str("logged out"),
            Self::Refused(reason) => formatter.write_str(reason),
        }
    }
}

impl Stamp {
    /// Returns the stamp of a set that was just saved: nothing failed, nothing is under way.
    pub fn of(tokens: &TokenSet) -> Self {
        Self {
            session: tokens.session.clone(),
            generation: tokens.generation,
            failure: None,
            refused_at: None,
            renewing: None,
            ended: None,
        }
    }

    /// Returns this stamp if it is about the session of `tokens`.
    pub fn about(self, tokens: &TokenSet) -> Option<Self> {
        Some(self).filter(|stamp| stamp.session == tokens.session)
    }

    /// Returns the error of a store that shows `stored` although this stamp knows of a later save.
    pub(crate) fn leaves_behind(&self, stored: &TokenSet) -> Option<StoreError> {
        (self.generation > stored.generation).then(|| StoreError::Behind {
            place: "the token store".into(),
            found: stored.generation.number(),
            expected: self.generation.number(),
        })
    }

    /// Returns what this stamp tells of `tokens`, which were just read. A process that was killed between its save and its
    /// stamp leaves a stamp of the generation before: that one's failures and renewals are over.
    pub(super) fn caught_up_with(self, tokens: &TokenSet) -> Self {
        if self.generation == tokens.generation {
            return self;
        }
        Self { refused_at: self.refused_at, ..Self::of(tokens) }
    }

    /// Returns the failure that still speaks for a renewal of `generation` at `now`. A failure "in the future" speaks
    /// for nothing: the clock was set back.
    pub fn standing_failure(&self, generation: Generation, now: Timestamp) -> Option<&Failure> {
        self.failure
            .as_ref()
            .filter(|failure| failure.generation == generation && (failure.at..failure.until).contains(&now))
    }
}

/// Returns how long `memory` is.
pub(super) fn length(memory: &Range<Timestamp>) -> Duration {
    Duration::try_from(memory.end.duration_since(memory.start)).unwrap_or_default()
}

/// Returns from when to when a failure at `now` is remembered.
pub(super) fn failure_memory(retry_after: Option<Duration>, now: Timestamp) -> Range<Timestamp> {
    let memory = retry_after.unwrap_or_default().clamp(SHORTEST_FAILURE_MEMORY, LONGEST_FAILURE_MEMORY);
    now..now.checked_add(memory).unwrap_or(now)
}
