//! Users: what their logins are checked against, how failed ones are counted, and how the operator manages them.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::{StoreError, UnfinishedRevocation};
use crate::domain::{Bucket, Counted, Subject, Subjects, UnixMillis, UserId, Username};

/// A password's hash with its parameters, as a PHC string.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// Counts what ends all logins of a user: a changed password, a disabled account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(pub i64);

/// What a login is checked against.
#[derive(Clone, Debug)]
pub struct StoredLogin {
    /// The user of that name.
    pub user_id: UserId,
    /// What the password must match.
    pub password_hash: PasswordHash,
    /// The epoch that the hash belongs to.
    pub epoch: Epoch,
}

/// Counts failed logins; the rules are in [`crate::domain::Bucket`].
#[async_trait]
pub trait LoginAttempts: Send + Sync {
    /// Returns the buckets that an attempt would be counted in: that of the known address, if it is one, else those of the
    /// account and of the network.
    async fn buckets(&self, subjects: &Subjects) -> Result<Vec<Bucket>, StoreError>;

    /// Counts an attempt as failed in all its buckets, if each of them has room; returns what they are like afterwards.
    async fn reserve_attempt(&self, subjects: &Subjects) -> Result<Option<Vec<Bucket>>, StoreError>;

    /// Takes a failure out of a bucket again.
    async fn refund_attempt(&self, subject: &Subject, counted: Counted) -> Result<(), StoreError>;

    /// Notes that an account was logged in to from an address.
    async fn remember_address(&self, known_address: &Subject, life: Duration) -> Result<(), StoreError>;
}

/// A user as the operator sees it.
#[derive(Clone, Debug)]
pub struct UserRecord {
    /// Its number.
    pub id: UserId,
    /// Its name.
    pub name: String,
    /// When it was added.
    pub created_at: UnixMillis,
    /// Whether it may log in.
    pub enabled: bool,
}

/// A user whose logins have all ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedOut {
    /// Its number.
    pub user_id: UserId,
    /// How many of its sessions lived until then.
    pub sessions: u64,
}

impl LoggedOut {
    /// Tells what became of a change of a user, if there is one of that name, that ended so many sessions.
    pub fn after(
        change: Result<Option<UserId>, StoreError>,
        sessions: u64,
    ) -> Result<Option<LoggedOut>, UnfinishedRevocation> {
        let user = UnfinishedRevocation::after(change, sessions)?;
        Ok(user.map(|user_id| LoggedOut { user_id, sessions }))
    }
}

/// Users, as the operator manages them.
///
/// What ends a user's sessions may end some of them in steps before it, and then fail: that user has to log in again, and
/// nothing else has changed.
#[async_trait]
pub trait UserStore: Send + Sync {
    /// Returns all users by number.
    async fn users(&self) -> Result<Vec<UserRecord>, StoreError>;

    /// Answers whether there is any user.
    async fn has_users(&self) -> Result<bool, StoreError>;

    /// Returns the number of a user, also of one that is disabled.
    async fn user_id(&self, name: &Username) -> Result<Option<UserId>, StoreError>;

    /// Adds a user, with the number `id` if one is given; answers none if the name or the number is taken.
    async fn add_user(
        &self,
        name: &Username,
        password_hash: &PasswordHash,
        id: Option<UserId>,
    ) -> Result<Option<UserId>, StoreError>;

    /// Removes a user with all its sessions; answers none if there is no such user.
    async fn remove_user(&self, name: &Username) -> Result<Option<LoggedOut>, UnfinishedRevocation>;

    /// Sets a user's password, bumps its epoch and revokes its sessions; answers none if there is no such user.
    async fn set_password(
        &self,
        name: &Username,
        password_hash: &PasswordHash,
    ) -> Result<Option<LoggedOut>, UnfinishedRevocation>;

    /// Disables a user, bumps its epoch and revokes its sessions; answers none if there is no such user.
    async fn disable_user(&self, name: &Username) -> Result<Option<LoggedOut>, UnfinishedRevocation>;

    /// Lets a user log in again; its sessions stay ended. Answers whether there is such a user.
    async fn enable_user(&self, name: &Username) -> Result<bool, StoreError>;
}
