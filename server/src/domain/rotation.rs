//! What becomes of a genuine refresh token that somebody presents.
//!
//! - There is never more than one live successor of a generation: whoever repeats a rotation gets the same token again,
//!   or none.
//! - A lost answer costs nobody the session: with the attempt key the successor is answered again at any time, without one
//!   within a short window.
//! - A used token in other hands ends the session, at its next use, whatever its age.
//!
//! This decides on a row as it was read. The store then does what was decided in one statement that repeats the
//! conditions, so a row that has moved on meanwhile is decided on again.

use std::time::Duration;

use super::attempt_key::AttemptHash;
use super::lifetimes::UnixMillis;
use super::refresh_token::Generation;

/// What a session's row says, read at the moment `now` of the database's clock.
#[derive(Clone, Debug)]
pub struct SessionState {
    /// The database's clock when the row was read.
    pub now: UnixMillis,
    /// The generation of the newest token.
    pub generation: Generation,
    /// When that token was made.
    pub rotated_at: UnixMillis,
    /// Whether the rotation that made it was asked for without an attempt key.
    pub keyless: bool,
    /// Hashes of the attempt keys of the last four rotations, the latest first.
    pub attempts: Vec<AttemptHash>,
    /// When the session ends unless it is refreshed.
    pub idle_expires_at: UnixMillis,
    /// When it ends whatever happens.
    pub absolute_expires_at: UnixMillis,
    /// Whether it was revoked.
    pub revoked: bool,
    /// Whether its user may log in.
    pub user_enabled: bool,
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Logged out, revoked for reuse, or its user's password was changed.
    Revoked,
    /// Its user was disabled.
    UserDisabled,
    /// Too long without a refresh, or too long in all.
    Expired,
}

impl SessionState {
    /// Returns why the session is over, if it is.
    pub fn ended(&self) -> Option<Ended> {
        if self.revoked {
            Some(Ended::Revoked)
        } else if !self.user_enabled {
            Some(Ended::UserDisabled)
        } else if self.now >= self.idle_expires_at || self.now >= self.absolute_expires_at {
            Some(Ended::Expired)
        } else {
            None
        }
    }
}

/// What to do with a genuine refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationDecision {
    /// Rotate: the next generation becomes the newest.
    Rotate,
    /// Answer the newest token again; nothing changes.
    SameSuccessor,
    /// Refuse: a request that was answered long ago has arrived once more.
    LateDuplicate,
    /// Refuse and revoke: a used token is in use again.
    Reuse,
    /// Refuse: the session is over.
    Ended(Ended),
}

/// Decides on a genuine token of generation `presented`, sent with the attempt key behind `attempt`.
///
/// A token *ahead* of the row rotates too: a database that lost its last moments must not look like theft.
pub fn decide(
    state: &SessionState,
    presented: Generation,
    attempt: AttemptHash,
    repeat_window: Duration,
) -> RotationDecision {
    if let Some(ended) = state.ended() {
        return RotationDecision::Ended(ended);
    }
    if state.generation <= presented {
        return RotationDecision::Rotate;
    }
    if state.generation == presented.successor() {
        let same_attempt = state.attempts.first() == Some(&attempt);
        let just_now = state.keyless && state.now.since(state.rotated_at) <= repeat_window;
        if same_attempt || just_now {
            return RotationDecision::SameSuccessor;
        }
    }
    if state.attempts.contains(&attempt) {
        return RotationDecision::LateDuplicate;
    }
    RotationDecision::Reuse
}

#[cfg(test)]
mod tests;
