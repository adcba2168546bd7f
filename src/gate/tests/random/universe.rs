//! What all processes of a case share: the time, the log, the lock; in `shelf` the store and the stamp, in `wire` the
//! renewals on their way to the server.
//!
//! The rules are checked whenever something changes. A broken one is noted, and told after the step together with the
//! log of all that happened.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::server::{Pair, Server};
use super::shelf::Shown;
use super::steps::{Saves, Shows};
use super::wire::Call;
use crate::gate::Stamp;
use crate::token::{SessionId, TokenSet};

/// Who does something: a process that uses a session, or a person's login or logout in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The gate of a session.
    Gate(SessionId),
    Login,
    Logout(SessionId),
}

pub(super) struct Universe {
    turns: Vec<u8>,
    /// Counts the turns of all operations: while it moves, somebody has not come to where they wait.
    pub(super) activity: AtomicUsize,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) log: Vec<String>,
    pub(super) broken: Vec<String>,
    pub(super) clock_offset: SignedDuration,
    pub(super) started: Instant,
    pub(super) server: Server,
    pub(super) stored: Option<TokenSet>,
    /// What was stored before the latest write.
    pub(super) before: Option<TokenSet>,
    /// What those see whose writes are not the latest, while the store lags.
    pub(super) shown: Option<Shown>,
    pub(super) stamp: Option<Stamp>,
    /// Which process holds the lock, and the number of its holding.
    pub(super) holder: Option<(usize, u64)>,
    pub(super) holdings: u64,
    pub(super) calls: Vec<Call>,
    pub(super) saves: Saves,
    pub(super) logged_out: HashSet<SessionId>,
    /// The login that whoever starts now should find.
    pub(super) standing: Option<Pair>,
    /// The last save was not yet followed by its stamp.
    pub(super) unstamped_by: Option<usize>,
    /// Whoever made the last save was told that it succeeded.
    pub(super) kept: bool,
    /// Who got new tokens and was not told yet that they are saved.
    pub(super) unsaved_by: Option<usize>,
    /// Who was told that its session has ended, and has not left word of it yet.
    pub(super) refused: Option<(usize, SessionId)>,
    /// Who failed, at redeeming what, and how long nobody tries that again.
    pub(super) left_alone: Option<(usize, Pair, Range<Timestamp>)>,
    /// The store has lagged in this case.
    pub(super) has_lagged: bool,
    pub(super) turn: usize,
}

impl Universe {
    pub(super) fn new(turns: Vec<u8>) -> Arc<Self> {
        let started = Instant::now();
        let state = State {
            log: Vec::new(),
            broken: Vec::new(),
            clock_offset: SignedDuration::ZERO,
            started,
            server: Server::default(),
            stored: None,
            before: None,
            shown: None,
            stamp: None,
            holder: None,
            holdings: 0,
            calls: Vec::new(),
            saves: Saves::Succeed,
            logged_out: HashSet::new(),
            standing: None,
            unstamped_by: None,
            kept: true,
            unsaved_by: None,
            refused: None,
            left_alone: None,
            has_lagged: false,
            turn: 0,
        };
        Arc::new(Self { turns, activity: AtomicUsize::new(0), state: Mutex::new(state) })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many turns the next operation takes before its effect is there, and again before its caller knows.
    pub(super) fn next_turns(&self) -> u8 {
        if self.turns.is_empty() {
            return 0;
        }
        let mut state = self.state();
        state.turn += 1;
        self.turns[state.turn % self.turns.len()]
    }

    pub(super) fn now(&self) -> Timestamp {
        self.state().now()
    }
}

impl State {
    pub(super) fn now(&self) -> Timestamp {
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        start + SignedDuration::try_from(self.started.elapsed()).unwrap() + self.clock_offset
    }

    pub(super) fn jump(&mut self, by: SignedDuration) {
        self.clock_offset += by;
        // Whether the failure is noted before or after the jump, nobody can say here.
        self.left_alone = None;
    }

    pub(super) fn note(&mut self, what: impl Into<String>) {
        let line = format!("{:>9} ms  {}", self.started.elapsed().as_millis(), what.into());
        self.log.push(line);
    }

    pub(super) fn all_faults_end(&mut self) {
        self.note("-- all faults end");
        self.saves = Saves::Succeed;
        self.show(Shows::All);
    }

    /// A rule was broken.
    pub(super) fn broken(&mut self, rule: impl Into<String>) {
        let rule = rule.into();
        self.note(format!("BROKEN: {rule}"));
        self.broken.push(rule);
    }

    pub(super) fn try_lock(&mut self, process: usize) -> Option<u64> {
        if self.holder.is_some() {
            return None;
        }
        self.holdings += 1;
        self.holder = Some((process, self.holdings));
        self.note(format!("process {process} holds the lock"));
        Some(self.holdings)
    }

    pub(super) fn unlock(&mut self, process: usize, holding: u64) {
        if self.holder == Some((process, holding)) {
            self.note(format!("process {process} lets the lock go"));
            self.holder = None;
            if self.unsaved_by == Some(process) {
                self.broken("the lock was let go although the new tokens are not saved");
            }
            if self.refused.take().is_some_and(|(refused, _)| refused == process) {
                self.broken("the lock was let go without a word of the refusal");
            }
            if self.unstamped_by == Some(process) && self.kept {
                self.broken("the lock was let go before the stamp told of the save");
            }
            self.show_what_has_no_stamp(process);
        }
    }

    /// Everything of `process` vanishes: what it holds, and who waits for answers.
    pub(super) fn bury(&mut self, process: usize) {
        self.note(format!("process {process} is gone"));
        if self.holder.is_some_and(|(holder, _)| holder == process) {
            self.holder = None;
        }
        self.unsaved_by = self.unsaved_by.filter(|unsaved| *unsaved != process);
        self.refused.take_if(|(refused, _)| *refused == process);
        self.left_alone.take_if(|(failed, ..)| *failed == process);
        for call in &mut self.calls {
            call.orphan |= call.process == process;
        }
        self.show_what_has_no_stamp(process);
    }

    /// The stamp is what tells that a store lags. A save that got none (its process died, or was told that the save had
    /// failed) *and* that others do not see is one fault more than the design promises to bear.
    fn show_what_has_no_stamp(&mut self, process: usize) {
        if self.unstamped_by == Some(process) {
            self.shown = None;
        }
    }
}

/// Which login and rotation the access token is of.
pub(super) fn pair(tokens: &TokenSet) -> Pair {
    Pair::read(tokens.access_token.expose(), "access").expect("tokens of the model")
}

/// How tokens are called in the log.
pub(super) fn name(tokens: &TokenSet) -> String {
    let Pair { login, rotation } = pair(tokens);
    format!("generation {} (login {login}, rotation {rotation})", tokens.generation)
}
