//! What the server asks of a database, as three small traits; [`crate::store`] holds what implements them.
//!
//! - Each method is one atomic step: it happens whole or not at all, and it repeats its conditions itself, so whatever
//!   was read before may be out of date.
//! - All times are the database's: several servers on one database agree on what has expired.
//! - The contract is the same for every implementation; nothing here knows of SQL.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{
    AttemptHash, Bucket, Counted, Generation, KeyId, KeyTimes, Lifetimes, SessionId, SessionState, Subject, Subjects,
    UnixMillis, UserId, Username,
};

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

/// A revocation, or a change that begins with one, that stopped before its end; it can be made again.
#[derive(Debug, thiserror::Error)]
#[error("stopped after {revoked} session{} had been revoked", if *revoked == 1 { "" } else { "s" })]
pub struct UnfinishedRevocation {
    /// How many sessions are revoked, at least: of the last step it may be unknown.
    pub revoked: u64,
    /// Why.
    #[source]
    pub source: StoreError,
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
        match change {
            Ok(user) => Ok(user.map(|user_id| LoggedOut { user_id, sessions })),
            Err(source) => Err(UnfinishedRevocation { revoked: sessions, source }),
        }
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

/// The number under which a database knows a pepper: the later it came, the higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PepperId(pub i64);

/// A pepper as the database knows it: not itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPepper {
    /// Its number.
    pub id: PepperId,
    /// What [`crate::pepper`] derives from it to recognise it.
    pub check_value: Vec<u8>,
    /// The key under which failed logins are counted, sealed under it; none of the first pepper, which that key comes from.
    pub throttle_key: Option<Vec<u8>>,
}

/// What ended with a pepper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// How many sessions that lived.
    pub sessions: u64,
    /// How many signing keys.
    pub keys: u64,
}

/// Sessions that live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveSessions {
    /// How many.
    pub count: u64,
    /// When the last of them ends, unless one is refreshed.
    pub until: Option<UnixMillis>,
}

/// A signing key as it lies in the database.
#[derive(Clone, Debug)]
pub struct SealedKey {
    /// Its name, the `kid` of the tokens that it signs.
    pub id: KeyId,
    /// The private key, sealed.
    pub sealed: Vec<u8>,
    /// The pepper that it is sealed under.
    pub pepper_id: PepperId,
}

/// A signing key with its moments.
#[derive(Clone, Debug)]
pub struct ScheduledKey {
    /// The key.
    pub key: SealedKey,
    /// When it signs, and for how long its tokens live.
    pub times: KeyTimes,
}

/// All signing keys, as they were at one moment.
#[derive(Clone, Debug)]
pub struct KeyList {
    /// The database's clock.
    pub now: UnixMillis,
    /// The keys in the order in which they sign.
    pub keys: Vec<ScheduledKey>,
}

/// The server's own keys.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Returns the peppers that this database knows, by number.
    async fn known_peppers(&self) -> Result<Vec<KnownPepper>, StoreError>;

    /// Adds a pepper, unless its number is taken; answers whether it did.
    async fn add_pepper(&self, pepper: &KnownPepper) -> Result<bool, StoreError>;

    /// Answers whether any session lives that was opened with a pepper. That a user is disabled does not count, because that
    /// can be undone.
    async fn pepper_has_live_sessions(&self, id: PepperId) -> Result<bool, StoreError>;

    /// Returns how many there are, which takes longer.
    async fn live_sessions_of_pepper(&self, id: PepperId) -> Result<LiveSessions, StoreError>;

    /// Removes a pepper and all that was made with it, and adds `key`, which signs at once, where no signing key is left;
    /// answers none if the database does not know it. Sessions may go in steps: of one that fails, those before it stay
    /// done.
    async fn forget_pepper(&self, id: PepperId, key: Option<&SealedKey>) -> Result<Option<Forgotten>, StoreError>;

    /// Returns all signing keys.
    async fn signing_keys(&self) -> Result<KeyList, StoreError>;

    /// Adds a signing key that signs at once, unless there is one.
    async fn add_first_signing_key(&self, key: &SealedKey) -> Result<(), StoreError>;

    /// Adds a signing key that signs after `announcement`, unless one is announced already; answers whether it did.
    async fn announce_signing_key(&self, key: &SealedKey, announcement: Duration) -> Result<bool, StoreError>;

    /// Removes all signing keys and adds one that signs at once, in one step.
    async fn replace_signing_keys(&self, key: &SealedKey) -> Result<(), StoreError>;

    /// Notes that a key may sign tokens that live as long as this, unless longer ones are noted.
    async fn raise_longest_life(&self, id: &KeyId, life: Duration) -> Result<(), StoreError>;

    /// Removes a signing key; answers whether it was there.
    async fn remove_signing_key(&self, id: &KeyId) -> Result<bool, StoreError>;
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
