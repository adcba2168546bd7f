//! Passwords: Argon2id, off the worker threads, a few at a time.
//!
//! - An unknown user costs as much time as a wrong password.
//! - Hashes leave one core to everything else where there are several, and give way on the others (`hands.rs`): a flood of
//!   logins hardly slows the calls that need none. Those that do not run at once wait, in order.
//! - Each hash takes 19 MiB, and takes them from the last one that is done (`benches.rs`): memory for as many hashes as run
//!   at once is all that logins ever hold, however many there were.
//! - The queue is bounded: whoever finds it full is told so at once, instead of waiting for an answer that is of no use
//!   any more.
//! - A request that goes away while its password is hashed keeps its place until the hash is done, so going away does not
//!   get around the cap. One that goes away while it waits leaves the queue.

mod benches;
mod hands;

use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use argon2::Params;
use argon2::password_hash::{Error as HashError, phc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use self::benches::{Bench, Benches};
use self::hands::Hands;
use crate::domain::Password;
use crate::ports::PasswordHash;
use crate::random;

/// How long somebody waits for a turn. The queue takes a second or two where hashes alone take time; where the processors or
/// the database are busy with other things it takes longer, and who waits for too long has given up when the turn comes:
/// many clients wait for ten seconds.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

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
    /// failures that an account is allowed: logins that are right never use them up by themselves, however many one server
    /// hashes at the same moment.
    const MOST_AT_ONCE: usize = 8;
    /// A second's work or two, at 20 to 40 ms a hash.
    const WAITING_FOR_EACH_CORE: usize = 32;
}

impl Default for Room {
    /// Returns the room of this machine: a hash for each core but one, and a second or two of waiting.
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let at_once = cores.saturating_sub(1).clamp(1, Self::MOST_AT_ONCE);
        Self { at_once, waiting: cores.min(Self::MOST_AT_ONCE) * Self::WAITING_FOR_EACH_CORE }
    }
}

/// Why a password could not be hashed or compared.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// As many wait as may, or the turn did not come in time: come back in a moment.
    #[error("too many passwords wait to be hashed")]
    Busy,
    /// The cost is out of range, or a stored hash is none.
    #[error("could not hash the password: {0}")]
    Hash(HashError),
    /// There are no threads to hash on.
    #[error("could not start the threads that hash passwords")]
    Hands(#[source] std::io::Error),
    /// The thread that hashed has died.
    #[error("hashing the password was interrupted")]
    Interrupted,
}

/// Hashes and compares passwords.
#[derive(Clone, Debug)]
pub struct Passwords {
    /// Where passwords are hashed.
    benches: Arc<Benches>,
    /// Who does it.
    hands: Arc<Hands>,
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
    benches: Arc<Benches>,
    hands: Arc<Hands>,
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
        let benches = Arc::new(Benches::new(params));
        let decoy = benches.decoy().map_err(PasswordError::Hash)?;
        let hands = Arc::new(Hands::new(room.at_once).map_err(PasswordError::Hands)?);
        let entrance = Arc::new(Semaphore::new(room.at_once + room.waiting));
        Ok(Self { benches, hands, decoy, entrance, places: Arc::new(Semaphore::new(room.at_once)) })
    }

    /// Fails where there is no room for one more at this moment: [`Self::turn`] would, too.
    pub fn expect_room(&self) -> Result<(), PasswordError> {
        if self.entrance.available_permits() == 0 { Err(PasswordError::Busy) } else { Ok(()) }
    }

    /// Waits for a turn to hash, unless too many wait already, or it does not come in time.
    pub async fn turn(&self) -> Result<Turn, PasswordError> {
        let entrance = Arc::clone(&self.entrance).try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let place = timeout(LONGEST_WAIT, Arc::clone(&self.places).acquire_owned());
        let place = place.await.map_err(|_| PasswordError::Busy)?.map_err(|_| PasswordError::Interrupted)?;
        let (benches, hands) = (Arc::clone(&self.benches), Arc::clone(&self.hands));
        Ok(Turn { benches, hands, decoy: self.decoy.clone(), _place: place, _entrance: entrance })
    }

    /// Returns the hash to keep of a new password.
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, PasswordError> {
        self.turn().await?.run(move |_, bench| hash(bench, &password)).await
    }

    /// Answers whether `password` is the one behind `hash`; without a hash the answer is no, after the same time.
    pub async fn verify(&self, password: Password, hash: Option<PasswordHash>) -> Result<bool, PasswordError> {
        self.turn().await?.verify(password, hash).await
    }
}

impl Turn {
    /// Answers whether `password` is the one behind `hash`; without a hash the answer is no, after the same time.
    pub async fn verify(self, password: Password, hash: Option<PasswordHash>) -> Result<bool, PasswordError> {
        self.run(move |turn, bench| turn.is_same(bench, &password, hash.as_ref())).await
    }

    /// Does the same, and hashes a password that is right once more where its hash was made with other parameters than
    /// ours. That costs its owner the time of one more hash, once.
    pub async fn compare(self, password: Password, stored: Option<PasswordHash>) -> Result<Comparison, PasswordError> {
        self.run(move |turn, bench| {
            if !turn.is_same(bench, &password, stored.as_ref())? {
                return Ok(Comparison::Different);
            }
            let renewed = match stored {
                Some(stored) if !turn.is_ours(&stored)? => Some(hash(bench, &password)?),
                _ => None,
            };
            Ok(Comparison::Same { renewed })
        })
        .await
    }

    fn is_same(
        &self,
        bench: &mut Bench<'_>,
        password: &Password,
        stored: Option<&PasswordHash>,
    ) -> Result<bool, HashError> {
        let hash = phc::PasswordHash::new(&stored.unwrap_or(&self.decoy).0)?;
        let same = bench.verify(password.as_bytes(), &hash)?;
        Ok(same && stored.is_some())
    }

    /// Answers whether a hash was made with the parameters of new ones.
    fn is_ours(&self, stored: &PasswordHash) -> Result<bool, HashError> {
        let (stored, ours) = (phc::PasswordHash::new(&stored.0)?, phc::PasswordHash::new(&self.decoy.0)?);
        Ok((stored.algorithm, stored.version, stored.params) == (ours.algorithm, ours.version, ours.params))
    }

    /// The turn goes along with the work, and lasts as long, whoever still waits for it.
    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(&Turn, &mut Bench<'_>) -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let hands = Arc::clone(&self.hands);
        let done = hands.run(move || work(&self, &mut self.benches.take())).await;
        done.map_err(|_| PasswordError::Interrupted)?.map_err(PasswordError::Hash)
    }
}

fn hash(bench: &mut Bench<'_>, password: &Password) -> Result<PasswordHash, HashError> {
    let hash = bench.hash(password.as_bytes(), &random::bytes::<16>())?;
    Ok(PasswordHash(hash.to_string()))
}

#[cfg(test)]
mod tests;
