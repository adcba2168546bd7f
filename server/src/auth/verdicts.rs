//! Verdicts: what the rows of sessions said a moment ago, so that not every protected call reads one.
//!
//! - No verdict is used four seconds after its row was asked for, so what ends a session anywhere is noticed by every
//!   server within five. A machine that slept in between knows (`age.rs`).
//! - However many calls of one session need its row at once, it is read once.
//! - Who ends a session through this server forgets its verdict, which takes effect at once: what was being read at that
//!   moment is not kept.
//! - A failure is told to those who waited for it, and never kept: it is no verdict.
//! - There are at most [`CAPACITY`] of them, each of a fixed size.
//!
//! Nothing here knows of tokens.

mod age;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::sync::watch;
use tokio::time::timeout;

use self::age::Moment;
use crate::domain::{SessionId, UnixMillis, UserId};
use crate::ports::{SessionRow, StoreError};

/// How long a verdict may be used, and how long a row is waited for.
const LONGEST_USE: Duration = Duration::from_secs(4);
/// How many sessions are remembered; of more, those least asked for are read again.
const CAPACITY: usize = 16 * 1024;

/// What a row said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The session lives.
    Live {
        /// Whose it is.
        user_id: UserId,
        /// When it ends unless it is refreshed.
        until: UnixMillis,
    },
    /// It is over, or there never was one.
    Over,
}

/// A verdict, and the time that it belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    verdict: Verdict,
    /// The database's clock, by which everything expires.
    now: UnixMillis,
    /// The row is at least as new as this: its age counts from here.
    asked_at: Moment,
    /// The database's clock was read no later than this: it goes on from here.
    answered_at: Moment,
}

impl Reading {
    /// Returns the user of the session, if it lives.
    pub(super) fn user(&self) -> Option<UserId> {
        match self.verdict {
            Verdict::Live { user_id, .. } => Some(user_id),
            Verdict::Over => None,
        }
    }

    /// Returns the database's clock, never ahead of it.
    pub(super) fn now(&self) -> UnixMillis {
        self.now.plus(self.answered_at.elapsed())
    }

    /// A session that should have ended by itself is read again: a refresh may have given it more time.
    fn is_usable(&self) -> bool {
        let ended = matches!(self.verdict, Verdict::Live { until, .. } if self.now() >= until);
        !ended && self.asked_at.elapsed() < LONGEST_USE
    }
}

/// The answer of a flight; all who waited get the same.
type Outcome = Result<Reading, Arc<StoreError>>;
/// Where a flight will land. Closed without an outcome: its task died with its runtime.
type Flight = watch::Receiver<Option<Outcome>>;

/// What is known of one session.
#[derive(Default)]
struct Slot {
    reading: Option<Reading>,
    /// The reading that is under way. It keeps its result only if it is still this one when it lands.
    flight: Option<Flight>,
}

/// A standard mutex: it is held for a few instructions, never over an await.
type SharedSlot = Arc<Mutex<Slot>>;

/// The verdicts of this server.
pub(super) struct Verdicts {
    slots: Cache<SessionId, SharedSlot>,
}

impl Verdicts {
    pub(super) fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    fn with_capacity(capacity: usize) -> Self {
        Self { slots: Cache::new(capacity) }
    }

    /// Returns a verdict on a session that is recent enough, from `read` if there is none.
    pub(super) async fn reading<F>(&self, id: SessionId, read: impl FnOnce() -> F) -> Result<Reading, StoreError>
    where
        F: Future<Output = Result<Option<SessionRow>, StoreError>> + Send + 'static,
    {
        let mut flight = {
            let slot = self.slot(id);
            let mut state = lock(&slot);
            if let Some(reading) = state.reading.filter(Reading::is_usable) {
                return Ok(reading);
            }
            // A closed one has died, or landed since: in both cases there is nothing to wait for.
            match state.flight.take().filter(|flight| flight.has_changed().is_ok()) {
                Some(flight) => state.flight.insert(flight).clone(),
                None => state.flight.insert(start(Arc::clone(&slot), read())).clone(),
            }
        };
        let outcome = flight.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        match outcome {
            Some(outcome) => outcome.map_err(shared),
            None => Err(StoreError::Unavailable("the reading of the session was given up".into())),
        }
    }

    /// Forgets what is known of a session that has just been changed here, or may have been.
    pub(super) fn forget(&self, id: SessionId) {
        if let Some(slot) = self.slots.get(&id) {
            *lock(&slot) = Slot::default();
        }
    }

    fn slot(&self, id: SessionId) -> SharedSlot {
        if let Some(slot) = self.slots.get(&id) {
            return slot;
        }
        let made: Result<_, std::convert::Infallible> =
            self.slots.get_or_insert_with(&id, || Ok(SharedSlot::default()));
        match made {
            Ok(slot) => slot,
        }
    }
}

impl fmt::Debug for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verdicts").field("sessions", &self.slots.len()).finish()
    }
}

/// Reads a row in a task of its own: nobody who stops waiting can stop it for the others.
fn start(
    slot: SharedSlot,
    read: impl Future<Output = Result<Option<SessionRow>, StoreError>> + Send + 'static,
) -> Flight {
    let (land, flight) = watch::channel(None);
    let this = flight.clone();
    tokio::spawn(async move {
        let asked_at = Moment::now();
        let outcome = match timeout(LONGEST_USE, read).await {
            Ok(Ok(row)) => Ok(reading_of(row.as_ref(), asked_at)),
            Ok(Err(error)) => Err(Arc::new(error)),
            Err(_) => Err(Arc::new(StoreError::Unavailable("the session was not read in time".into()))),
        };
        {
            let mut state = lock(&slot);
            if state.flight.as_ref().is_some_and(|flight| flight.same_channel(&this)) {
                state.flight = None;
                if let Ok(reading) = outcome {
                    state.reading = Some(reading);
                }
            }
        }
        // Fails only if nobody waits any more.
        let _ = land.send(Some(outcome));
    });
    flight
}

fn reading_of(row: Option<&SessionRow>, asked_at: Moment) -> Reading {
    let answered_at = Moment::now();
    // Without a row there is no clock, and nothing that could expire.
    let Some(row) = row else {
        return Reading { verdict: Verdict::Over, now: UnixMillis(0), asked_at, answered_at };
    };
    let state = &row.state;
    let verdict = match state.ended() {
        None => {
            let until = state.idle_expires_at.min(state.absolute_expires_at);
            Verdict::Live { user_id: row.user_id, until }
        }
        Some(_) => Verdict::Over,
    };
    Reading { verdict, now: state.now, asked_at, answered_at }
}

/// Returns an error of the same kind for one of several who wait.
fn shared(error: Arc<StoreError>) -> StoreError {
    let unavailable = matches!(*error, StoreError::Unavailable(_) | StoreError::Unknown(_));
    let source: Box<dyn Error + Send + Sync> = Box::new(Shared(error));
    if unavailable { StoreError::Unavailable(source) } else { StoreError::Unexpected(source) }
}

/// One error for many. It says and is caused by what the shared one was caused by, so a log shows each cause once.
#[derive(Debug)]
struct Shared(Arc<StoreError>);

impl Shared {
    fn inner(&self) -> &(dyn Error + 'static) {
        match &*self.0 {
            StoreError::Unavailable(cause) | StoreError::Unexpected(cause) | StoreError::Unknown(cause) => {
                cause.as_ref()
            }
        }
    }
}

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.inner(), f)
    }
}

impl Error for Shared {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.inner().source()
    }
}

/// No panic can leave a slot half changed: each change is one assignment.
fn lock(slot: &Mutex<Slot>) -> std::sync::MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
