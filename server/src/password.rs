//! Passwords: Argon2id, off the worker threads, a few at a time.
//!
//! - An unknown user costs as much time as a wrong password.
//! - At most as many hashes as there are cores run at once, each in its own 19 MiB; some others wait, in order.
//! - The queue is bounded: whoever finds it full is told so at once, instead of waiting for an answer that is of no use
//!   any more.
//! - A request that goes away while its password is hashed keeps its place until the hash is done, so going away does not
//!   get around the cap. One that goes away while it waits leaves the queue.

use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use argon2::password_hash::{
    Error as HashError, PasswordHasher as _, PasswordVerifier as _,
    phc::{self, Output, Salt},
};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::Password;
use crate::ports::PasswordHash;
use crate::random;

/// What one hash costs.
#[derive(Clone, Copy, Debug)]
pub struct PasswordCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Default for PasswordCost {
    /// Returns what OWASP asks for at least: 19 MiB, two passes, one lane.
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2 }
    }
}

/// How much hashing there is room for.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// How many hashes run at once.
    pub at_once: usize,
    /// How many more requests may wait for that.
    pub waiting: usize,
}

impl Room {
    /// More at once would make logins no faster that anybody notices, and each takes 19 MiB. It is also less than the
    /// failures that an account is allowed: what one server hashes at a time never uses them
    /// up, however many log in rightly at the same moment.
    const MOST_AT_ONCE: usize = 8;
    /// About a second's work, at 20 to 40 ms a hash.
    const WAITING_FOR_EACH: usize = 32;
}

impl Default for Room {
    /// Returns the room of this machine: a hash a core, and about a second of waiting.
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let at_once = cores.min(Self::MOST_AT_ONCE);
        Self { at_once, waiting: at_once * Self::WAITING_FOR_EACH }
    }
}

/// Why a password could not be hashed or compared.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// As many wait as may: come back in a moment.
    #[error("too many passwords wait to be hashed")]
    Busy,
    /// The cost is out of range, or a stored hash is none.
    #[error("could not hash the password: {0}")]
    Hash(HashError),
    /// The thread that hashed has died.
    #[error("hashing the password was interrupted")]
    Interrupted,
}

/// Hashes and compares passwords.
#[derive(Clone, Debug)]
pub struct Passwords {
    argon2: Argon2<'static>,
    /// Compared with where there is no user.
    decoy: PasswordHash,
    /// A place for each request that may be here at all, at work or in the queue.
    entrance: Arc<Semaphore>,
    /// A place for each hash that may run at once. A fair queue, so nobody waits for ever.
    places: Arc<Semaphore>,
}

/// What came of a password and a stored hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// It is another password, or there is no hash.
    Different,
    /// It is the one.
    Same {
        /// The same password hashed as new ones are, where the stored hash was made otherwise.
        renewed: Option<PasswordHash>,
    },
}

/// Somebody's turn to hash one password: whoever holds it has waited, and makes others wait.
#[derive(Debug)]
pub struct Turn {
    argon2: Argon2<'static>,
    decoy: PasswordHash,
    _place: OwnedSemaphorePermit,
    _entrance: OwnedSemaphorePermit,
}

impl Passwords {
    /// Returns what hashes at this cost, in the room of this machine.
    pub fn new(cost: PasswordCost) -> Result<Self, PasswordError> {
        Self::with_room(cost, Room::default())
    }

    /// Returns what hashes at this cost, in so much room.
    pub fn with_room(cost: PasswordCost, room: Room) -> Result<Self, PasswordError> {
        let failed = |error: argon2::Error| PasswordError::Hash(error.into());
        let params = Params::new(cost.memory_kib, cost.passes, 1, None).map_err(failed)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = decoy(&argon2).map_err(PasswordError::Hash)?;
        let entrance = Arc::new(Semaphore::new(room.at_once + room.waiting));
        Ok(Self { argon2, decoy, entrance, places: Arc::new(Semaphore::new(room.at_once)) })
    }

    /// Waits for a turn to hash, unless too many wait already.
    pub async fn turn(&self) -> Result<Turn, PasswordError> {
        let entrance = Arc::clone(&self.entrance).try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| PasswordError::Interrupted)?;
        let (argon2, decoy) = (self.argon2.clone(), self.decoy.clone());
        Ok(Turn { argon2, decoy, _place: place, _entrance: entrance })
    }

    /// Returns the hash to keep of a new password.
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, PasswordError> {
        self.turn().await?.run(move |turn| hash(&turn.argon2, &password)).await
    }

    /// Answers whether `password` is the one behind `hash`; without a hash the answer is no, after the same time.
    pub async fn verify(&self, password: Password, hash: Option<PasswordHash>) -> Result<bool, PasswordError> {
        self.turn().await?.verify(password, hash).await
    }
}

impl Turn {
    /// Answers whether `password` is the one behind `hash`; without a hash the answer is no, after the same time.
    pub async fn verify(self, password: Password, hash: Option<PasswordHash>) -> Result<bool, PasswordError> {
        self.run(move |turn| turn.is_same(&password, hash.as_ref())).await
    }

    /// Does the same, and hashes a password that is right once more where its hash was made with other parameters than
    /// ours. That costs its owner the time of one more hash, once.
    pub async fn compare(self, password: Password, stored: Option<PasswordHash>) -> Result<Comparison, PasswordError> {
        self.run(move |turn| {
            if !turn.is_same(&password, stored.as_ref())? {
                return Ok(Comparison::Different);
            }
            let renewed = match stored {
                Some(stored) if !turn.is_ours(&stored)? => Some(hash(&turn.argon2, &password)?),
                _ => None,
            };
            Ok(Comparison::Same { renewed })
        })
        .await
    }

    fn is_same(&self, password: &Password, stored: Option<&PasswordHash>) -> Result<bool, HashError> {
        let hash = phc::PasswordHash::new(&stored.unwrap_or(&self.decoy).0)?;
        match self.argon2.verify_password(password.as_bytes(), &hash) {
            Ok(()) => Ok(stored.is_some()),
            Err(HashError::PasswordInvalid) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Answers whether a hash was made with the parameters of new ones.
    fn is_ours(&self, stored: &PasswordHash) -> Result<bool, HashError> {
        let (stored, ours) = (phc::PasswordHash::new(&stored.0)?, phc::PasswordHash::new(&self.decoy.0)?);
        Ok((stored.algorithm, stored.version, stored.params) == (ours.algorithm, ours.version, ours.params))
    }

    /// The turn goes along with the work, and lasts as long, whoever still waits for it.
    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(&Turn) -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let done = tokio::task::spawn_blocking(move || work(&self)).await;
        done.map_err(|_| PasswordError::Interrupted)?.map_err(PasswordError::Hash)
    }
}

fn hash(argon2: &Argon2<'_>, password: &Password) -> Result<PasswordHash, HashError> {
    let salt = random::bytes::<16>();
    Ok(PasswordHash(argon2.hash_password_with_salt(password.as_bytes(), &salt)?.to_string()))
}

/// Returns a hash of no password, with the parameters of the real ones.
fn decoy(argon2: &Argon2<'_>) -> Result<PasswordHash, HashError> {
    let hash = phc::PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: argon2.params().try_into()?,
        salt: Some(Salt::new(&random::bytes::<16>())?),
        hash: Some(Output::new(&random::bytes::<32>())?),
    };
    Ok(PasswordHash(hash.to_string()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn passwords() -> Passwords {
        Passwords::new(PasswordCost { memory_kib: 8, passes: 1 }).unwrap()
    }

    fn password(text: &str) -> Password {
        Password::presented(text.to_owned())
    }

    #[tokio::test]
    async fn only_the_same_password_matches() {
        let passwords = passwords();
        let hash = passwords.hash(password("one")).await.unwrap();
        assert!(passwords.verify(password("one"), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify(password("two"), Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn a_right_password_is_hashed_anew_where_its_hash_was_made_otherwise() {
        let old = passwords().hash(password("one")).await.unwrap();
        for cost in [(8, 2), (16, 1)] {
            let passwords = Passwords::new(PasswordCost { memory_kib: cost.0, passes: cost.1 }).unwrap();
            let compare =
                async |text, hash| passwords.turn().await.unwrap().compare(password(text), hash).await.unwrap();
            let Comparison::Same { renewed: Some(renewed) } = compare("one", Some(old.clone())).await else {
                panic!("not hashed anew")
            };
            assert!(renewed.0.contains(&format!("$m={},t={},p=1$", cost.0, cost.1)));
            assert_eq!(compare("one", Some(renewed.clone())).await, Comparison::Same { renewed: None });
            assert_eq!(compare("two", Some(renewed)).await, Comparison::Different);
            assert_eq!(compare("two", Some(old.clone())).await, Comparison::Different);
            assert_eq!(compare("one", None).await, Comparison::Different);
        }
    }

    #[tokio::test]
    async fn an_unknown_user_is_refused_after_a_real_hash() {
        let passwords = passwords();
        assert!(!passwords.verify(password("one"), None).await.unwrap());
        let hash = passwords.hash(password("one")).await.unwrap().0;
        let cost = |hash: &str| hash.split('$').take(4).collect::<Vec<_>>().join("$");
        assert_eq!(cost(&passwords.decoy.0), cost(&hash));
        assert_eq!(passwords.decoy.0.len(), hash.len());
    }

    #[tokio::test]
    async fn a_full_queue_is_told_at_once_and_empties_again() {
        let cost = PasswordCost { memory_kib: 8, passes: 1 };
        let passwords = Passwords::with_room(cost, Room { at_once: 1, waiting: 2 }).unwrap();
        let first = passwords.turn().await.unwrap();
        let mut second = Box::pin(passwords.turn());
        let mut third = Box::pin(passwords.turn());
        assert!(timeout(Duration::ZERO, &mut second).await.is_err());
        assert!(timeout(Duration::ZERO, &mut third).await.is_err());
        assert!(matches!(passwords.turn().await, Err(PasswordError::Busy)));
        assert!(matches!(passwords.verify(password("one"), None).await, Err(PasswordError::Busy)));
        // One that goes away leaves the queue, one that is done lets the next one in.
        drop(second);
        let mut fourth = Box::pin(passwords.turn());
        assert!(timeout(Duration::ZERO, &mut fourth).await.is_err());
        assert!(!first.verify(password("one"), None).await.unwrap());
        drop(third.await.unwrap());
        drop(fourth.await.unwrap());
        assert!(!passwords.verify(password("one"), None).await.unwrap());
    }

    #[tokio::test]
    async fn going_away_does_not_get_around_the_cap() {
        let cost = PasswordCost { memory_kib: 8, passes: 1 };
        let passwords = Passwords::with_room(cost, Room { at_once: 1, waiting: 0 }).unwrap();
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let turn = passwords.turn().await.unwrap();
        let mut work = Box::pin(turn.run(move |_| {
            let _ = gone.recv();
            Ok(())
        }));
        assert!(timeout(Duration::ZERO, &mut work).await.is_err());
        drop(work);
        assert!(matches!(passwords.turn().await, Err(PasswordError::Busy)));
        drop(go);
        timeout(Duration::from_secs(10), async {
            while passwords.turn().await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn the_default_cost_is_what_is_promised() {
        let passwords = Passwords::new(PasswordCost::default()).unwrap();
        assert!(passwords.decoy.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    }
}
