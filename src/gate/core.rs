//! The gate's synchronous core: which tokens are current, and whether a flight is under way that replaces them.
//!
//! - At most one flight is in the air, and it replaces exactly the current generation.
//! - The snapshot only moves forward: no landing replaces it by an older generation or another session.
//! - A flight that vanishes without landing (a panic) counts as failed for all who wait for it.
//!
//! It knows no I/O, no time and no runtime but the channel its waiters sleep on. `tests/model` tries these promises in
//! every order of events, on this very file.

use std::ops::Range;
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;

use super::decide::{self, Want};
use super::sync::{Announcer, Listener, Mutex, MutexGuard, Seen, Snapshot, announcement};
use crate::error::TokenError;
use crate::token::{Generation, TokenSet};

/// What everyone who waits for a flight gets.
pub(crate) type Outcome = Result<Arc<TokenSet>, Arc<TokenError>>;

pub(crate) struct Core {
    /// Read without a lock on the fast path; written only by whoever holds `state`.
    current: Snapshot<TokenSet>,
    /// A std mutex: it is held for a few instructions and never across an await.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The flight in the air.
    flight: Option<Listener<Outcome>>,
    /// The failure that answers for renewals of one generation for a while.
    failure: Option<Failure>,
    /// Set for good on the way out: whoever asks from now on starts nothing that the program would have to wait for.
    closed: bool,
    /// Set for good once the session is over for this process.
    ended: Option<Arc<TokenError>>,
    /// When a refusal of a fresh token last caused a refresh.
    refused_at: Option<Timestamp>,
}

struct Failure {
    generation: Generation,
    /// A clock that was set back before it began is outside as well.
    speaks_for: Range<Timestamp>,
    error: Arc<TokenError>,
}

/// What a caller does next.
pub(crate) enum Step {
    /// Use these.
    Use(Arc<TokenSet>),
    /// Wait for the flight in the air.
    Wait(Landing),
    /// Be the one who flies; others wait already.
    Fly(Takeoff),
    /// Nothing can be had for now.
    Fail(Arc<TokenError>),
}

/// How a flight ended, for [`Takeoff::land`].
pub(crate) struct Arrival {
    pub(crate) outcome: Outcome,
    /// For how long a failure answers for all who ask.
    pub(crate) remember: Option<Range<Timestamp>>,
    /// When a refusal of a fresh token last caused a refresh, as far as the flight learned.
    pub(crate) refused_at: Option<Timestamp>,
}

impl Core {
    pub(crate) fn new(tokens: TokenSet) -> Self {
        Self { current: Snapshot::new(Arc::new(tokens)), state: Mutex::new(State::default()) }
    }

    /// Returns the current tokens: no lock, no allocation.
    pub(crate) fn current(&self) -> Seen<TokenSet> {
        self.current.load()
    }

    /// Decides what somebody who wants `want` does at `now`.
    pub(crate) fn ask(self: &Arc<Self>, want: Want, now: Timestamp) -> Step {
        let mut state = self.state();
        // Loaded under the lock: a landing between a caller's look and this moment must be seen here.
        let current = self.current.load_full();
        if let Some(ended) = &state.ended {
            return Step::Fail(Arc::clone(ended));
        }
        if want.is_met_by(&current, now) {
            return Step::Use(current);
        }
        if let Some(flight) = &state.flight {
            return Step::Wait(Landing(flight.clone()));
        }
        if state.closed {
            return Step::Fail(Arc::new(TokenError::Closing));
        }
        if let Some(failure) = &state.failure
            && failure.generation == current.generation
            && failure.speaks_for.contains(&now)
        {
            return Step::Fail(Arc::clone(&failure.error));
        }
        if want.doubts_fresh_token(&current, now) && decide::refusal_stands(state.refused_at, &current, now) {
            return Step::Fail(Arc::new(TokenError::RefusalStands));
        }
        let (announcer, listener) = announcement();
        state.flight = Some(listener.clone());
        drop(state);
        Step::Fly(Takeoff {
            core: Arc::clone(self),
            replaces: current,
            announcer,
            landing: Landing(listener),
            landed: false,
        })
    }

    /// Lets nobody take off any more. Returns the landing of the flight in the air, if one is.
    pub(crate) fn close(&self) -> Option<Landing> {
        let mut state = self.state();
        state.closed = true;
        state.flight.clone().map(Landing)
    }

    /// A panic while the lock was held cannot have torn the state: every write to it is a single assignment.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right, and the duty, to fly once. Dropped without [`land`](Self::land), it fails the flight for all.
pub(crate) struct Takeoff {
    core: Arc<Core>,
    replaces: Arc<TokenSet>,
    announcer: Announcer<Outcome>,
    landing: Landing,
    landed: bool,
}

impl Takeoff {
    /// The tokens that this flight replaces.
    pub(crate) fn replaces(&self) -> &Arc<TokenSet> {
        &self.replaces
    }

    /// Where the one who starts the flight waits, like all others.
    pub(crate) fn landing(&self) -> Landing {
        self.landing.clone()
    }

    /// Publishes how the flight ended and wakes all who wait.
    pub(crate) fn land(mut self, arrival: Arrival) {
        self.landed = true;
        self.settle(arrival);
    }

    fn settle(&self, arrival: Arrival) {
        let Arrival { outcome, remember, refused_at } = arrival;
        let mut state = self.core.state();
        match &outcome {
            Ok(tokens) => {
                state.failure = None;
                if tokens.is_newer_than(&self.replaces) {
                    self.core.current.store(Arc::clone(tokens));
                }
            }
            Err(error) if ends_session(error) => state.ended = Some(Arc::clone(error)),
            Err(error) => {
                state.failure = remember.map(|speaks_for| Failure {
                    generation: self.replaces.generation,
                    speaks_for,
                    error: Arc::clone(error),
                });
            }
        }
        state.refused_at = refused_at.or(state.refused_at);
        // In this order: who asks after the unlock sees the new tokens and no flight; who asked before gets the result.
        state.flight = None;
        drop(state);
        self.announcer.announce(outcome);
    }
}

impl Drop for Takeoff {
    fn drop(&mut self) {
        if !self.landed {
            let outcome = Err(Arc::new(TokenError::FlightLost));
            self.settle(Arrival { outcome, remember: None, refused_at: None });
        }
    }
}

fn ends_session(error: &TokenError) -> bool {
    matches!(error, TokenError::NotLoggedIn | TokenError::SessionEnded { .. } | TokenError::AccountChanged)
}

/// Where the waiters of one flight sleep. Dropping one has no effect on the flight.
#[derive(Clone)]
pub(crate) struct Landing(Listener<Outcome>);

impl Landing {
    /// Waits until the flight has landed, and returns what it came to.
    pub(crate) async fn outcome(self) -> Outcome {
        self.0.heard().await.unwrap_or_else(|| Err(Arc::new(TokenError::FlightLost)))
    }
}
