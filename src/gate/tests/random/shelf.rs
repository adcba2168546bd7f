//! The store and the stamp of a case.
//!
//! Nothing newer and no other login is overwritten or cleared by something older; nothing comes back after a logout;
//! what is cleared, or saved before the lock is let go, is told by the stamp.

use super::steps::{Saves, Shows};
use super::universe::{Role, State, name, pair};
use crate::gate::{Ending, Stamp};
use crate::token::TokenSet;

/// A state of the store that is not the latest.
pub(super) struct Shown {
    tokens: Option<TokenSet>,
    /// Who has written since, and sees what is there.
    writer: Option<usize>,
}

impl State {
    pub(super) fn load(&self, process: usize) -> Option<TokenSet> {
        match &self.shown {
            Some(shown) if shown.writer != Some(process) => shown.tokens.clone(),
            _ => self.stored.clone(),
        }
    }

    pub(super) fn show(&mut self, shows: Shows) {
        self.has_lagged |= shows != Shows::All;
        let tokens = match shows {
            Shows::All => None,
            Shows::NothingNew => Some(self.stored.clone()),
            Shows::NotTheLast if self.unstamped_by.is_some() => None,
            Shows::NotTheLast => Some(self.before.clone()),
        };
        self.shown = tokens.map(|tokens| Shown { tokens, writer: None });
    }

    /// Writes `tokens` for `process`, whatever that will be told about it.
    pub(super) fn save(&mut self, process: usize, role: &Role, tokens: &TokenSet) {
        self.note(format!("process {process} saves {}", name(tokens)));
        if let Some(stored) = &self.stored {
            let what = format!("{} overwritten by {} of {role:?}", name(stored), name(tokens));
            let repeated = stored.is_same_save(tokens) && stored.attempt_key.expose() == tokens.attempt_key.expose();
            if !repeated && stored.generation >= tokens.generation {
                self.broken(format!("a newer generation: {what}"));
            } else if *role != Role::Login && stored.session != tokens.session {
                self.broken(format!("another session: {what}"));
            }
        } else if *role != Role::Login {
            self.broken(format!("{} saved where nothing was left", name(tokens)));
        }
        if self.logged_out.contains(&tokens.session) {
            self.broken(format!("{} came back after its logout", name(tokens)));
        }
        if let Some(stored) = self.stored.as_ref().filter(|stored| tokens.is_newer_than(stored))
            && stored.attempt_key.expose() == tokens.attempt_key.expose()
        {
            self.broken(format!("{} has the attempt key of {}", name(tokens), name(stored)));
        }
        if !self.stored.as_ref().is_some_and(|stored| stored.is_same_save(tokens)) {
            self.before = self.stored.replace(tokens.clone());
        }
        self.standing = Some(pair(tokens));
        self.written(process);
        self.unstamped_by = Some(process);
        self.kept = self.saves == Saves::Succeed;
        if self.kept && self.unsaved_by == Some(process) {
            self.unsaved_by = None;
        }
    }

    pub(super) fn clear(&mut self, process: usize, role: &Role) {
        self.note(format!("process {process} clears"));
        if let Some(stored) = &self.stored {
            let (name, pair) = (name(stored), pair(stored));
            match role {
                Role::Logout(session) | Role::Gate(session) if stored.session != *session => {
                    self.broken(format!("another session: {name} cleared by {role:?}"));
                }
                Role::Gate(_) if !self.server.is_revoked(pair.login) => {
                    self.broken(format!("{name} cleared, which the server did not end"));
                }
                _ => {}
            }
        }
        if let Role::Logout(session) = role {
            self.logged_out.insert(session.clone());
            self.standing = None;
        }
        if let Some(stored) = self.stored.take() {
            let told =
                self.stamp.as_ref().is_some_and(|stamp| stamp.session == stored.session && stamp.ended.is_some());
            if !told {
                self.broken(format!("{} cleared without a word to others", name(&stored)));
            }
            self.before = Some(stored);
        }
        self.written(process);
    }

    fn written(&mut self, process: usize) {
        if let Some(shown) = &mut self.shown {
            shown.writer = Some(process);
        }
    }

    pub(super) fn set_stamp(&mut self, process: usize, stamp: &Stamp) {
        let ended = stamp.ended.as_ref().map(|ended| &ended.how);
        self.note(format!("process {process} stamps generation {} (ended: {ended:?})", stamp.generation));
        if ended == Some(&Ending::LoggedOut) {
            self.logged_out.insert(stamp.session.clone());
            if self.stored.as_ref().is_some_and(|stored| stored.session == stamp.session) {
                self.standing = None;
            }
        }
        if let Some(stored) = self.stored.as_ref().filter(|stored| stored.session == stamp.session)
            && stored.generation > stamp.generation
        {
            let stored = name(stored);
            self.broken(format!("the stamp tells of less than {stored}"));
        }
        if ended.is_some() {
            self.refused.take_if(|(_, session)| *session == stamp.session);
        }
        self.stamp = Some(stamp.clone());
        self.unstamped_by = None;
    }
}
