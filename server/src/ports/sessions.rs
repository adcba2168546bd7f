//! Sessions: how they are opened, rotated and ended, and what their users and the operator see of them.

use std::time::Duration;

use async_trait::async_trait;

use super::{Epoch, PasswordHash, PepperId, StoreError, StoredLogin, UnfinishedRevocation};
use crate::domain::{AttemptHash, Generation, Lifetimes, SessionId, SessionState, UnixMillis, UserId, Username};

/// A session to open.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Its random name.
    pub id: SessionId,
    /// Who logged in.
    pub user_id: UserId,
    /// The epoch whose password was verified.
    pub epoch: Epoch,
    /// What its keys are derived from, with the pepper.
    pub salt: [u8; 32],
    /// Which pepper.
    pub pepper_id: PepperId,
    /// How long it may live.
    pub lifetimes: Lifetimes,
}

/// The newest state of a session that tokens can be made for.
#[derive(Clone, Copy, Debug)]
pub struct LiveSession {
    /// Whose it is.
    pub user_id: UserId,
    /// The generation of its newest refresh token.
    pub generation: Generation,
    /// The database's clock.
    pub now: UnixMillis,
    /// When it ends unless it is refreshed; never after its absolute end.
    pub idle_expires_at: UnixMillis,
}

/// A session's row.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// Whose it is.
    pub user_id: UserId,
    /// What its keys are derived from.
    pub salt: Vec<u8>,
    /// Which pepper they are derived with.
    pub pepper_id: PepperId,
    /// What a decision on it rests on.
    pub state: SessionState,
}

/// Logins and their sessions.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Answers whether the database can be read and written to.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Returns what a login as `name` is checked against, unless there is no such user or it is disabled.
    async fn login(&self, name: &Username) -> Result<Option<StoredLogin>, StoreError>;

    /// Replaces the hash that a login was checked against by another of the same password, if it still stands; answers
    /// whether it did. The epoch stays: the user's sessions live on.
    async fn renew_password_hash(&self, checked: &StoredLogin, renewed: &PasswordHash) -> Result<bool, StoreError>;

    /// Opens a session, if its user is there, enabled, and still in the epoch that was verified.
    async fn open_session(&self, session: NewSession) -> Result<Option<LiveSession>, StoreError>;

    /// Returns the row of a session.
    async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError>;

    /// Makes the successor of `presented` the newest generation, if the session is live and has no newer one.
    async fn rotate(&self, rotation: Rotation) -> Result<Option<LiveSession>, StoreError>;

    /// Revokes a session because `presented` was used before, if that is (still) so; answers whether it did.
    async fn revoke_reused(&self, reuse: Reuse) -> Result<bool, StoreError>;

    /// Ends a session at its owner's wish; answers whether it was there and not revoked before.
    async fn end_session(&self, id: SessionId) -> Result<bool, StoreError>;
}

/// A rotation to make.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// The session to rotate.
    pub session: SessionId,
    /// The generation of the token that was presented.
    pub presented: Generation,
    /// The attempt that asks for it.
    pub attempt: AttemptHash,
    /// Whether the server made that attempt's key, because the client sent none.
    pub keyless: bool,
    /// How long the session lives on without another refresh.
    pub idle: Duration,
}

/// A reuse to punish.
#[derive(Clone, Copy, Debug)]
pub struct Reuse {
    /// The session to revoke.
    pub session: SessionId,
    /// The generation of the token that was presented.
    pub presented: Generation,
    /// The attempt that presented it.
    pub attempt: AttemptHash,
    /// How long a rotation without a key may be repeated.
    pub repeat_window: Duration,
}

/// A session as its user sees it: nothing of it is secret.
#[derive(Clone, Copy, Debug)]
pub struct SessionSummary {
    /// Its name.
    pub id: SessionId,
    /// When it was opened.
    pub created_at: UnixMillis,
    /// When its newest refresh token was made.
    pub refreshed_at: UnixMillis,
    /// When it ends unless it is refreshed.
    pub expires_at: UnixMillis,
}

impl SessionSummary {
    /// Of more sessions of one user only so many, the latest, are listed.
    pub const MOST: i64 = 1000;
}

/// Which sessions: those that every given condition holds for.
#[derive(Clone, Debug, Default)]
pub struct SessionSelection {
    /// Those of this user.
    pub user: Option<Username>,
    /// The one with this name.
    pub id: Option<SessionId>,
    /// Those opened before this moment.
    pub opened_before: Option<UnixMillis>,
}

/// Sessions, as their users and the operator manage them. All of it is about live ones: what has ended is not there.
#[async_trait]
pub trait SessionDirectory: Send + Sync {
    /// Returns the sessions of a user, the latest first, at most [`SessionSummary::MOST`].
    async fn sessions_of(&self, user: UserId) -> Result<Vec<SessionSummary>, StoreError>;

    /// Revokes a session if it is this user's; answers whether it was.
    async fn revoke_session_of(&self, user: UserId, id: SessionId) -> Result<bool, StoreError>;

    /// Revokes all sessions of a selection; returns how many there were. It does so in steps, between which others have
    /// their turn: of one that fails, those before it stay done.
    async fn revoke_sessions(&self, selection: &SessionSelection) -> Result<u64, UnfinishedRevocation>;
}
