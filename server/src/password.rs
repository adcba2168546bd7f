//! Passwords: Argon2id, off the worker threads, a few at a time.
//!
//! - An unknown user costs as much time as a wrong password.
//! - At most as many hashes as there are cores run at once, each in its own 19 MiB; the others wait.
//! - A request that goes away while its password is hashed keeps its place until the hash is done, so going away does not
//!   get around the cap.

use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use argon2::password_hash::{
    Error as HashError, PasswordHasher as _, PasswordVerifier as _,
    phc::{self, Output, Salt},
};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

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

/// Why a password could not be hashed or compared.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
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
    /// A place for each hash that may run at once. A fair queue, so nobody waits for ever.
    places: Arc<Semaphore>,
}

impl Passwords {
    /// Returns what hashes at this cost.
    pub fn new(cost: PasswordCost) -> Result<Self, PasswordError> {
        let failed = |error: argon2::Error| PasswordError::Hash(error.into());
        let params = Params::new(cost.memory_kib, cost.passes, 1, None).map_err(failed)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = decoy(&argon2).map_err(PasswordError::Hash)?;
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        Ok(Self { argon2, decoy, places: Arc::new(Semaphore::new(cores)) })
    }

    /// Returns the hash to keep of a new password.
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, PasswordError> {
        let argon2 = self.argon2.clone();
        self.run(move || {
            let salt = random::bytes::<16>();
            let hash = argon2.hash_password_with_salt(password.as_bytes(), &salt)?;
            Ok(PasswordHash(hash.to_string()))
        })
        .await
    }

    /// Answers whether `password` is the one behind `hash`; without a hash the answer is no, after the same time.
    pub async fn verify(&self, password: Password, hash: Option<PasswordHash>) -> Result<bool, PasswordError> {
        let argon2 = self.argon2.clone();
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.decoy.clone());
        self.run(move || {
            let hash = phc::PasswordHash::new(&hash.0)?;
            match argon2.verify_password(password.as_bytes(), &hash) {
                Ok(()) => Ok(known),
                Err(HashError::PasswordInvalid) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|_| PasswordError::Interrupted)?;
        tokio::task::spawn_blocking(move || {
            let _place = place;
            work()
        })
        .await
        .map_err(|_| PasswordError::Interrupted)?
        .map_err(PasswordError::Hash)
    }
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
    async fn an_unknown_user_is_refused_after_a_real_hash() {
        let passwords = passwords();
        assert!(!passwords.verify(password("one"), None).await.unwrap());
        let hash = passwords.hash(password("one")).await.unwrap().0;
        let cost = |hash: &str| hash.split('$').take(4).collect::<Vec<_>>().join("$");
        assert_eq!(cost(&passwords.decoy.0), cost(&hash));
        assert_eq!(passwords.decoy.0.len(), hash.len());
    }

    #[tokio::test]
    async fn the_default_cost_is_what_is_promised() {
        let passwords = Passwords::new(PasswordCost::default()).unwrap();
        assert!(passwords.decoy.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    }
}
