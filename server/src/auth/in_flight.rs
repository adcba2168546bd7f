//! Logins that are counted as failures and not decided yet: whoever finds an account's bucket full waits for them, because
//! those that turn out right make room again.
//!
//! This knows of this server's logins alone.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use crate::domain::Subject;

/// The accounts that have undecided logins, or are watched.
#[derive(Clone, Default)]
pub(super) struct InFlight(Arc<Mutex<HashMap<Subject, Account>>>);

#[derive(Default)]
struct Account {
    undecided: usize,
    watchers: usize,
    /// How many logins were undecided since somebody began to watch.
    entered: u64,
    decided: Arc<Notify>,
}

impl InFlight {
    /// Counts a login as undecided until what is returned is dropped.
    pub(super) fn enter(&self, account: Subject) -> Undecided {
        self.change(account, |state| {
            state.entered += 1;
            state.undecided += 1;
        });
        Undecided { all: self.clone(), account }
    }

    /// Watches an account until what is returned is dropped.
    pub(super) fn watch(&self, account: Subject) -> Watch {
        self.change(account, |state| state.watchers += 1);
        Watch { all: self.clone(), account }
    }

    /// Changes what is known of an account, and forgets it when nobody needs it any more.
    fn change<T>(&self, account: Subject, change: impl FnOnce(&mut Account) -> T) -> T {
        let mut all = self.lock();
        let state = all.entry(account).or_default();
        let result = change(state);
        if (state.undecided, state.watchers) == (0, 0) {
            all.remove(&account);
        }
        result
    }

    /// No panic can leave it half changed.
    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, Account>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A login that is not decided yet.
pub(super) struct Undecided {
    all: InFlight,
    account: Subject,
}

impl Drop for Undecided {
    fn drop(&mut self) {
        self.all.change(self.account, |state| {
            state.decided.notify_waiters();
            state.undecided -= 1;
        });
    }
}

/// Somebody who wants to know what becomes of an account's undecided logins.
pub(super) struct Watch {
    all: InFlight,
    account: Subject,
}

impl Watch {
    /// Returns what ends when the next of them is decided; none if there is none.
    pub(super) fn next(&self) -> Option<OwnedNotified> {
        self.all
            .change(self.account, |state| (state.undecided > 0).then(|| Arc::clone(&state.decided).notified_owned()))
    }

    /// Returns a number that is another once a login has become undecided.
    pub(super) fn entered(&self) -> u64 {
        self.all.change(self.account, |state| state.entered)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.all.change(self.account, |state| state.watchers -= 1);
    }
}

impl fmt::Debug for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Undecided({})", self.account)
    }
}
