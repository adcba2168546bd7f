//! The peppers: the secrets that are not in the database.
//!
//! - All keys come from them: those of refresh tokens (with the session's salt) and those that seal signing keys. A copy of
//!   the database alone makes no token.
//! - They lie in a file of its owner's alone, made at the first start, or come from the environment.
//! - The first is the newest: new sessions and signing keys are made with it. The others go on with what was made with
//!   them, until that is over.
//! - A database recognises its peppers. With none of them, or without one that live sessions or signing keys still need,
//!   the server refuses to start, instead of refusing sessions that it opened. So it does without one that is newer than
//!   all that are given: servers with different new ones would not know each other's sessions.

mod error;
mod needs;
mod operator;
mod secret;
mod source;

use std::fmt;

use aws_lc_rs::error::Unspecified;
use tracing::{info, warn};
use zeroize::Zeroizing;

pub use self::error::PepperError;
pub use self::needs::Needs;
use self::needs::{is_needed, refuse_needed};
pub use self::operator::{Listed, Lost, Role, list, lost, rotate};
use self::secret::Pepper;
pub use self::source::PepperSource;
use crate::domain::{SessionKey, ThrottleKey};
use crate::ports::{KeyStore, KnownPepper, PepperId, StoreError};

const BYTES: usize = 32;
/// How often others may come first with a pepper of theirs.
const ROUNDS: usize = 16;
/// The number of the first pepper of a database.
const FIRST: PepperId = PepperId(1);
/// Binds a sealed throttle key to its purpose.
const THROTTLE_LABEL: &str = "throttle key";

/// What becomes of peppers that the database knows and that are not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// They must not be needed any more.
    Check,
    /// They do not matter: for what makes do with the newest.
    Ignore,
}

/// What becomes of peppers that are given and that the database does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unknown {
    /// The database is told of them: from now on they are used.
    Introduce,
    /// They are left out, but for the very first one.
    LeaveOut,
}

/// The peppers of a database.
pub struct Peppers {
    /// The newest first; never empty.
    all: Vec<(PepperId, Pepper)>,
    throttle_key: Zeroizing<Vec<u8>>,
    newer_waits: bool,
}

impl Peppers {
    /// Loads the peppers of this database; makes the first, and tells the database of those that it does not know yet.
    pub async fn load(source: &PepperSource, store: &dyn KeyStore, absent: Absent) -> Result<Self, PepperError> {
        Self::load_with(source, store, absent, Unknown::Introduce).await
    }

    /// Loads the peppers that servers were started with, for what makes something that running servers must open.
    pub async fn load_known(source: &PepperSource, store: &dyn KeyStore, absent: Absent) -> Result<Self, PepperError> {
        Self::load_with(source, store, absent, Unknown::LeaveOut).await
    }

    async fn load_with(
        source: &PepperSource,
        store: &dyn KeyStore,
        absent: Absent,
        unknown: Unknown,
    ) -> Result<Self, PepperError> {
        for _ in 0..ROUNDS {
            let known = store.known_peppers().await?;
            let given = match source.read()? {
                Some(given) => given,
                None => make(source, &known)?,
            };
            let given: Vec<Pepper> = given.into_iter().map(Pepper).collect();
            let matched: Vec<_> = given.iter().map(|pepper| find(pepper, &known)).collect();
            let first = matched.iter().position(Option::is_some);
            if first.is_none() && !known.is_empty() {
                return Err(PepperError::Mismatch);
            }
            let missing = known.iter().filter(|known| !matched.iter().flatten().any(|found| found.id == known.id));
            if absent == Absent::Check {
                refuse_needed(missing, store).await?;
            }
            // Whoever uses it would not know what is made with ours, nor we what is made with it.
            let newest = matched.iter().flatten().map(|found| found.id).max();
            if let Some(newer) = known.iter().map(|known| known.id).filter(|id| Some(*id) > newest).max()
                && newest.is_some()
            {
                return Err(PepperError::NewerMissing(newer));
            }
            let throttle_key =
                first.and_then(|at| matched[at].map(|known| throttle_key(&given[at], known))).transpose()?;
            // The oldest first: a later number is a newer pepper.
            if let Some(new) = matched.iter().rposition(Option::is_none)
                && (unknown == Unknown::Introduce || known.is_empty())
            {
                let known = introduce(&given[new], &known, throttle_key.as_ref())?;
                if store.add_pepper(&known).await? && known.id != FIRST {
                    warn!(pepper = known.id.0, "a new pepper is known to the database");
                }
                continue;
            }
            let newer_waits = matched.first().is_some_and(Option::is_none);
            let ids: Vec<Option<PepperId>> = matched.into_iter().map(|known| known.map(|known| known.id)).collect();
            let all = ids.into_iter().zip(given).filter_map(|(id, pepper)| Some((id?, pepper))).collect();
            // Not empty: there is no source without a pepper, and one of them was found.
            let throttle_key = throttle_key.ok_or(PepperError::Mismatch)?;
            return Ok(Self { all, throttle_key, newer_waits });
        }
        Err(PepperError::Contended)
    }

    /// Says of each older pepper that nothing needs it any more, if that is so.
    pub async fn tell_needless(&self, store: &dyn KeyStore) -> Result<(), StoreError> {
        let keys = store.signing_keys().await?;
        // Not of one that is newer than the first: it waits for its turn.
        for (id, _) in self.all.iter().filter(|(id, _)| *id < self.newest()) {
            if !is_needed(*id, &keys, store).await? {
                info!(pepper = id.0, "nothing needs an older pepper any more: it may be taken out");
            }
        }
        Ok(())
    }

    /// Returns the number under which the database knows the newest.
    pub fn newest(&self) -> PepperId {
        self.all[0].0
    }

    /// Answers whether the first that was given is left out, because no server was started with it yet.
    pub fn newer_waits(&self) -> bool {
        self.newer_waits
    }

    /// Returns the keys of the session whose row holds `salt`, if the pepper that it was opened with is there.
    pub fn session_key(&self, id: PepperId, salt: &[u8]) -> Option<SessionKey> {
        self.get(id).map(|pepper| pepper.session_key(salt))
    }

    /// Returns the key under which failed logins are counted: the same under all peppers of a database.
    pub fn throttle_key(&self) -> ThrottleKey {
        ThrottleKey::new(&self.throttle_key)
    }

    /// Encrypts `secret` so that only the newest pepper opens it, and only under the same `label`.
    pub fn seal(&self, label: &str, secret: &[u8]) -> Result<Vec<u8>, Unspecified> {
        self.all[0].1.seal(label, secret)
    }

    /// Decrypts what [`seal`](Self::seal) returned when this was the newest pepper; none if it is not there.
    pub fn open(&self, id: PepperId, label: &str, sealed: &[u8]) -> Option<Result<Zeroizing<Vec<u8>>, Unspecified>> {
        self.get(id).map(|pepper| pepper.open(label, sealed))
    }

    fn get(&self, id: PepperId) -> Option<&Pepper> {
        self.all.iter().find(|(known, _)| *known == id).map(|(_, pepper)| pepper)
    }
}

impl fmt::Debug for Peppers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all.iter().map(|(id, _)| id)).finish()
    }
}

/// Makes the first pepper of a database that knows none.
fn make(source: &PepperSource, known: &[KnownPepper]) -> Result<Vec<secrecy::SecretSlice<u8>>, PepperError> {
    let missing = || match source {
        PepperSource::File(path) => PepperError::Missing(path.clone()),
        PepperSource::Given(_) => PepperError::NotInAFile,
    };
    if known.is_empty() {
        source.make()?;
        if let Some(made) = source.read()? {
            return Ok(made);
        }
    }
    Err(missing())
}

fn find<'a>(pepper: &Pepper, known: &'a [KnownPepper]) -> Option<&'a KnownPepper> {
    let check_value = pepper.check_value();
    known.iter().find(|known| known.check_value == check_value)
}

/// Returns the key under which failed logins are counted: that of the first pepper, handed on from each to the next.
fn throttle_key(pepper: &Pepper, known: &KnownPepper) -> Result<Zeroizing<Vec<u8>>, PepperError> {
    match &known.throttle_key {
        Some(sealed) => pepper.open(THROTTLE_LABEL, sealed).map_err(|_| PepperError::Damaged(known.id)),
        None => Ok(Zeroizing::new(pepper.first_throttle_key().to_vec())),
    }
}

/// Returns the row of a pepper that the database does not know yet: with the next number, which only one can get.
fn introduce(
    pepper: &Pepper,
    known: &[KnownPepper],
    throttle_key: Option<&Zeroizing<Vec<u8>>>,
) -> Result<KnownPepper, Unspecified> {
    let id = known.iter().map(|known| known.id.0).max().map_or(FIRST, |last| PepperId(last.saturating_add(1)));
    let throttle_key = throttle_key.map(|key| pepper.seal(THROTTLE_LABEL, key)).transpose()?;
    Ok(KnownPepper { id, check_value: pepper.check_value(), throttle_key })
}

#[cfg(test)]
mod tests;
