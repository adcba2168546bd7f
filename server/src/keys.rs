//! The keys that sign access tokens: Ed25519, sealed in the database under a pepper.
//!
//! - One key signs, by the database's clock ([`KeyTimes`]); all that are not dead verify and are published. A server reads
//!   the list again every few seconds, so it notices a new key without a restart.
//! - A key is announced for [`ANNOUNCEMENT`] before it signs, and no token is signed by a list older than
//!   [`KEY_LIST_MAX_AGE`]: whoever verifies knows a key before its first token.
//! - Before a server signs with a key it notes there how long its tokens live, so whoever relieves that key knows when the
//!   last of them is dead.
//!
//! - A key that a running server cannot open stops none of the others: its tokens get 503, and what is gone is gone.
//!
//! Nothing here shows a private key.

mod set;
mod verified;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::signature::Ed25519KeyPair;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{info, warn};

use self::set::KeySet;
use crate::domain::{
    ANNOUNCEMENT, AccessClaims, AccessTokenError, KEY_LIST_MAX_AGE, KeyId, KeyPhase, KeyTimes, UnixMillis,
    VerifiedToken,
};
use crate::pepper::Peppers;
use crate::ports::{KeyList, KeyStore, PepperId, SealedKey, StoreError};
use crate::random;

/// How often the list is read again.
pub const RELOAD_PERIOD: Duration = Duration::from_secs(2);
/// How long a list is waited for.
const PATIENCE: Duration = Duration::from_secs(4);
/// How soon after a reading tokens of unknown keys cause another one: forgers must not keep the database busy.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Why a key of the list cannot be used by this server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableKey {
    /// It does not open under its pepper, or what opens is no key.
    #[error("the signing key `{}` is damaged", .0.0)]
    Damaged(KeyId),
    /// It is sealed under a pepper that this server does not have.
    #[error("the signing key `{}` is sealed under the pepper {}, which is not there", .0.0, .1.0)]
    OtherPepper(KeyId, PepperId),
}

/// Why there are no keys to work with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The database did not answer.
    #[error("could not read the signing keys")]
    Store(#[from] StoreError),
    /// A new key could not be made or sealed.
    #[error("could not make a signing key")]
    Generation(#[from] Unspecified),
    /// The one key that would do is of no use here.
    #[error(transparent)]
    Unusable(#[from] UnusableKey),
    /// The public keys could not be written down.
    #[error("could not publish the signing keys")]
    Unpublishable,
    /// A token could not be signed.
    #[error("could not sign an access token")]
    Signing(#[from] jsonwebtoken::errors::Error),
}

impl KeyError {
    /// Returns what the operator can do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unusable(UnusableKey::Damaged(_)) => Some(
                "`authcli-server keys rotate --now` replaces all signing keys: nobody is logged out, and clients refresh",
            ),
            Self::Unusable(UnusableKey::OtherPepper(..)) => {
                Some("start this server with the same peppers as the one that made the key; `pepper list` shows them")
            }
            Self::Store(_) | Self::Generation(_) | Self::Unpublishable | Self::Signing(_) => None,
        }
    }
}

/// Why a token was not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is not genuine.
    #[error(transparent)]
    Refused(#[from] AccessTokenError),
    /// Its key is unknown here, and could not be looked up.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// What signs and verifies access tokens.
pub struct KeyRing {
    store: Arc<dyn KeyStore>,
    peppers: Arc<Peppers>,
    /// How long the tokens live that this server signs.
    access_life: Duration,
    /// Replaced as a whole; held for the copying of a pointer.
    current: RwLock<Arc<KeySet>>,
    /// Held while the list is read: one reading at a time, and whoever waited for it uses it.
    last_reading: Mutex<LastReading>,
}

struct LastReading {
    at: Instant,
    failed: bool,
}

impl KeyRing {
    /// Reads the keys of this database; makes the first one if there is none.
    pub async fn load(
        store: Arc<dyn KeyStore>,
        peppers: Arc<Peppers>,
        access_life: Duration,
    ) -> Result<Self, KeyError> {
        if store.signing_keys().await?.keys.is_empty() {
            // None is added if another process was faster, and then its key is the first.
            store.add_first_signing_key(&new_key(&peppers)?).await?;
        }
        let list = read(&*store, access_life).await?;
        let set = KeySet::open(&list, &peppers, None)?;
        // A server that runs goes on without a key that it cannot open; one that starts would be broken from the start.
        if let Some(unusable) = set.unusable().next() {
            return Err(unusable.clone().into());
        }
        let last_reading = Mutex::new(LastReading { at: Instant::now(), failed: false });
        Ok(Self { store, peppers, access_life, current: RwLock::new(Arc::new(set)), last_reading })
    }

    /// Reads the list again every few seconds, for ever.
    pub async fn keep_current(&self) {
        let mut failed = false;
        loop {
            sleep(RELOAD_PERIOD).await;
            let reloaded = self.reload().await;
            match &reloaded {
                Err(error) if !failed => warn!("the signing keys are as old as they are: {}", with_cause(error)),
                _ => {}
            }
            failed = reloaded.is_err();
        }
    }

    /// Reads the list again.
    pub async fn reload(&self) -> Result<(), KeyError> {
        let mut last_reading = self.last_reading.lock().await;
        self.read_again(&mut last_reading).await
    }

    /// Sees to it that a token can be signed at `now`, and for a while after it: to be asked before a session is changed,
    /// because a session that has moved on without its client having the token is lost to it.
    pub async fn prepare(&self, now: UnixMillis) -> Result<(), KeyError> {
        self.listed_within(KEY_LIST_MAX_AGE / 2, now).await.map(|_| ())
    }

    /// Returns a token with these claims, signed with the key whose turn it is at `now`.
    pub async fn sign(&self, claims: &AccessClaims, now: UnixMillis) -> Result<String, KeyError> {
        let set = self.listed_within(KEY_LIST_MAX_AGE, now).await?;
        let signer = set.signer(now)?;
        Ok(signer.sign(claims)?)
    }

    /// Returns what a genuine token says. Its expiry is still to be checked.
    ///
    /// The key of a token may be newer than our list: then that is read again, once a second for all who need it. A token
    /// is refused by a list that was read after it came, however long that takes.
    pub async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        let set = self.current();
        match set.verify(token) {
            Err(VerifyError::Refused(AccessTokenError::UnknownKey)) => self.newer_than(&set).await?.verify(token),
            verified => verified,
        }
    }

    /// Returns the public keys, as JSON.
    pub fn jwks(&self) -> String {
        self.current().jwks().to_owned()
    }

    fn current(&self) -> Arc<KeySet> {
        // Nothing can be torn: it is one pointer.
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns a set that was listed at most so long before `now`. It is read as soon as it is needed, also where that
    /// failed a moment ago: whoever asks has a session to lose. Those who ask meanwhile share that reading.
    async fn listed_within(&self, age: Duration, now: UnixMillis) -> Result<Arc<KeySet>, KeyError> {
        let is_within = |age: Duration, set: &KeySet| now.since(set.listed_at()) <= age;
        let set = self.current();
        if is_within(age, &set) {
            return Ok(set);
        }
        let asked_at = Instant::now();
        let mut last_reading = self.last_reading.lock().await;
        let set = self.current();
        if is_within(age, &set) {
            return Ok(set);
        }
        if last_reading.failed && last_reading.at > asked_at {
            return Err(unread());
        }
        self.read_again(&mut last_reading).await?;
        // Only a clock that was set back by hand can make a new list old.
        Some(self.current()).filter(|set| is_within(KEY_LIST_MAX_AGE, set)).ok_or_else(unread)
    }

    /// Returns a set that was read after `seen`; waits for its turn to be read.
    async fn newer_than(&self, seen: &Arc<KeySet>) -> Result<Arc<KeySet>, KeyError> {
        loop {
            let mut last_reading = self.last_reading.lock().await;
            let current = self.current();
            if !Arc::ptr_eq(&current, seen) {
                return Ok(current);
            }
            let next_reading = last_reading.at + LOOK_AGAIN_AFTER;
            if Instant::now() >= next_reading {
                self.read_again(&mut last_reading).await?;
                return Ok(self.current());
            }
            if last_reading.failed {
                return Err(unread());
            }
            drop(last_reading);
            sleep_until(next_reading).await;
        }
    }

    async fn read_again(&self, last_reading: &mut LastReading) -> Result<(), KeyError> {
        last_reading.failed = true;
        let result = self.replace_current().await;
        last_reading.at = Instant::now();
        last_reading.failed = result.is_err();
        result
    }

    async fn replace_current(&self) -> Result<(), KeyError> {
        let list = timeout(PATIENCE, read(&*self.store, self.access_life))
            .await
            .map_err(|_| StoreError::Unavailable("the signing keys were not read in time".into()))??;
        let former = self.current();
        let set = if former.is_of(&list) {
            former.listed_again(list.now)
        } else {
            KeySet::open(&list, &self.peppers, Some(&former))?
        };
        for id in set.ids().filter(|id| !former.has(id)) {
            warn!(kid = %id.0, "a new signing key is published");
        }
        for id in former.ids().filter(|id| !set.has(id)) {
            warn!(kid = %id.0, "a signing key is gone; what it signed is refused");
        }
        for unusable in set.unusable().filter(|one| !former.unusable().any(|other| other == *one)) {
            warn!("a signing key cannot be used here, and its tokens get 503: {unusable}");
        }
        let signer = |set: &KeySet| set.signer(set.listed_at()).ok().map(|key| key.id().clone());
        if let Some(id) = signer(&set).filter(|id| signer(&former).as_ref() != Some(id)) {
            warn!(kid = %id.0, "access tokens are signed with another key from now on");
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
        self.remove_dead(&list).await;
        Ok(())
    }

    /// The oldest first: a key that still verifies must not lose the one that relieved it before it is dead itself.
    async fn remove_dead(&self, list: &KeyList) {
        for (key, phase) in list.keys.iter().zip(phases(list)) {
            if phase != KeyPhase::Dead {
                continue;
            }
            match self.store.remove_signing_key(&key.key.id).await {
                Ok(removed) if removed => info!(kid = %key.key.id.0, "removed a signing key; its tokens are all dead"),
                Ok(_) => {}
                // It is used no more; the next reading tries again.
                Err(_) => break,
            }
        }
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.current().ids()).finish()
    }
}

/// Adds a key that signs after [`ANNOUNCEMENT`], unless one is announced already; returns its name.
pub async fn announce(store: &dyn KeyStore, peppers: &Peppers) -> Result<Option<KeyId>, KeyError> {
    let key = new_key(peppers)?;
    Ok(store.announce_signing_key(&key, ANNOUNCEMENT).await?.then_some(key.id))
}

/// Replaces all keys by a new one: whatever was signed before is refused as soon as servers notice.
pub async fn replace(store: &dyn KeyStore, peppers: &Peppers) -> Result<KeyId, KeyError> {
    let key = new_key(peppers)?;
    store.replace_signing_keys(&key).await?;
    Ok(key.id)
}

/// Makes the key that signs where all others are gone with a pepper that is forgotten.
pub fn in_place_of_lost(rest: &Peppers) -> Result<SealedKey, KeyError> {
    Ok(new_key(rest)?)
}

/// Returns what each key of a list does at the moment of the list.
pub fn phases(list: &KeyList) -> Vec<KeyPhase> {
    let times: Vec<KeyTimes> = list.keys.iter().map(|key| key.times).collect();
    KeyTimes::phases(&times, list.now)
}

/// Reads the list, after each key that may sign for us says that its tokens live as long as ours.
async fn read(store: &dyn KeyStore, access_life: Duration) -> Result<KeyList, StoreError> {
    let list = store.signing_keys().await?;
    let mut raised = false;
    for (key, phase) in list.keys.iter().zip(phases(&list)) {
        if matches!(phase, KeyPhase::Announced | KeyPhase::Signing) && key.times.longest_life < access_life {
            store.raise_longest_life(&key.key.id, access_life).await?;
            raised = true;
        }
    }
    if raised { store.signing_keys().await } else { Ok(list) }
}

fn new_key(peppers: &Peppers) -> Result<SealedKey, Unspecified> {
    let id = KeyId(random::word::<9>());
    let pkcs8 = Ed25519KeyPair::generate()?.to_pkcs8v1()?;
    let sealed = peppers.seal(&label(&id), pkcs8.as_ref())?;
    Ok(SealedKey { id, sealed, pepper_id: peppers.newest() })
}

/// Binds a sealed key to its name, so that rows cannot be swapped.
fn label(id: &KeyId) -> String {
    format!("signing key {}", id.0)
}

fn unread() -> KeyError {
    StoreError::Unavailable("the signing keys could not be read a moment ago".into()).into()
}

fn with_cause(error: &KeyError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
