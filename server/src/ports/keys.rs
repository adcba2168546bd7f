//! The server's own secrets: what the database knows of its peppers, and its signing keys.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{KeyId, KeyTimes, UnixMillis};

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
