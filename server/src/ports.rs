//! What the server asks of a database, as small traits; [`crate::store`] holds what implements them.
//!
//! - Each method is one atomic step: it happens whole or not at all, and it repeats its conditions itself, so whatever
//!   was read before may be out of date.
//! - All times are the database's: several servers on one database agree on what has expired.
//! - The contract is the same for every implementation; nothing here knows of SQL.

mod keys;
mod sessions;
mod users;

use std::error::Error;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

pub use self::keys::{Forgotten, KeyList, KeyStore, KnownPepper, LiveSessions, PepperId, ScheduledKey, SealedKey};
pub use self::sessions::{
    LiveSession, NewSession, Reuse, Rotation, SessionDirectory, SessionRow, SessionSelection, SessionStore,
    SessionSummary,
};
pub use self::users::{Epoch, LoggedOut, LoginAttempts, PasswordHash, StoredLogin, UserRecord, UserStore};
use crate::domain::SessionId;
use crate::text::counted;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached or is too busy just now: the caller may come back.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// It answered something that it should not: coming back will not help.
    #[error("the database answered something unexpected")]
    Unexpected(#[source] Box<dyn Error + Send + Sync>),
    /// It went away before it answered whether it had made a change that cannot be made twice: the caller must look.
    #[error("the database did not answer whether the change was made")]
    Unknown(#[source] Box<dyn Error + Send + Sync>),
}

/// A revocation, or a change that begins with one, that stopped before its end; it can be made again.
#[derive(Debug, thiserror::Error)]
#[error("stopped after {} had been revoked", counted(*revoked, "session"))]
pub struct UnfinishedRevocation {
    /// How many sessions are revoked, at least: of the last step it may be unknown.
    pub revoked: u64,
    /// Why.
    #[source]
    pub source: StoreError,
}

impl UnfinishedRevocation {
    /// Tells what became of a change that has revoked so many sessions on its way.
    pub fn after<T>(change: Result<T, StoreError>, revoked: u64) -> Result<T, Self> {
        change.map_err(|source| Self { revoked, source })
    }
}

/// One step of a walk through all sessions, few enough that nobody waits for it.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// Where the last step ended; none at the start.
    pub after: Option<SessionId>,
    /// How many sessions to look at, at most.
    pub look_at: u32,
    /// How long a session is kept after its end.
    pub keep: Duration,
}

/// What a step of that walk did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// How many sessions were deleted.
    pub deleted: usize,
    /// Where the next step begins; none when all were looked at.
    pub next: Option<SessionId>,
}

/// All that a database does for the server.
#[async_trait]
pub trait Store: SessionStore + SessionDirectory + LoginAttempts + UserStore + KeyStore + fmt::Debug {
    /// Looks at the next few sessions in the order of their ids, and deletes those that have been over for long.
    async fn sweep(&self, sweep: Sweep) -> Result<Swept, StoreError>;

    /// Deletes buckets that have drained and addresses that are not known any more, `most` of each; returns how many of the
    /// kind of which there were more.
    async fn sweep_attempts(&self, most: u32) -> Result<usize, StoreError>;

    /// Finishes what is under way and lets the database go.
    async fn close(&self);
}
