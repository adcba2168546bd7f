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

/// The undecided logins of each account that has any.
#[derive(Clone, Default)]
pub(super) struct InFlight(Arc<Mutex<Accounts>>);

#[derive(Default)]
struct Accounts {
    undecided: HashMap<Subject, Account>,
    /// How many logins have ever been undecided, of all accounts.
    entered: u64,
}

#[derive(Default)]
struct Account {
    undecided: usize,
    decided: Arc<Notify>,
}

impl InFlight {
    /// Counts a login as undecided until what is returned is dropped.
    pub(super) fn enter(&self, account: Subject) -> Undecided {
        let mut all = self.lock();
        all.entered += 1;
        all.undecided.entry(account).or_default().undecided += 1;
        drop(all);
        Undecided { all: self.clone(), account }
    }

    /// Returns what ends when the next of an account's undecided logins is decided; none if there is none.
    pub(super) fn next(&self, account: Subject) -> Option<OwnedNotified> {
        self.lock().undecided.get(&account).map(|account| Arc::clone(&account.decided).notified_owned())
    }

    /// Returns a number that is another once a login has become undecided.
    pub(super) fn entered(&self) -> u64 {
        self.lock().entered
    }

    /// No panic can leave it half changed.
    fn lock(&self) -> MutexGuard<'_, Accounts> {
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
        let mut all = self.all.lock();
        if let Some(account) = all.undecided.get_mut(&self.account) {
            account.decided.notify_waiters();
            account.undecided -= 1;
            if account.undecided == 0 {
                all.undecided.remove(&self.account);
            }
        }
    }
}

impl fmt::Debug for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Undecided({})", self.account)
    }
}
