//! Where passwords are hashed: memory that one hash after the other is made in.
//!
//! The library by itself asks for 19 MiB each time and gives them back. glibc's allocator keeps them (its threshold for
//! giving memory back to the system rises with the size of what is freed), and what it keeps hardly ever fits the next
//! request, because that is for memory aligned to 64 bytes: 595 MB after 96 logins, measured on two cores. So a bench is
//! kept and used again. One is made when nobody has left one: there are never more of them than hashes that ran at once.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use argon2::password_hash::{
    Error as HashError,
    phc::{Output, ParamsString, PasswordHash, Salt},
};
use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::ports;
use crate::random;

/// Benches that nobody works at, all for hashes of the same cost.
pub(super) struct Benches {
    params: Params,
    /// A standard mutex: it is held to take one or to leave one.
    free: Mutex<Vec<Vec<Block>>>,
}

impl Benches {
    /// Returns no benches yet; new hashes have these parameters.
    pub(super) fn new(params: Params) -> Self {
        Self { params, free: Mutex::default() }
    }

    /// Takes a bench; makes one if none is free.
    pub(super) fn take(&self) -> Bench<'_> {
        let left = self.free().pop();
        let blocks = left.unwrap_or_else(|| blocks(&self.params));
        Bench { of: self, blocks }
    }

    /// Returns a hash of no password, with the parameters of the real ones.
    pub(super) fn decoy(&self) -> Result<ports::PasswordHash, HashError> {
        let hash = self.made(&random::bytes::<16>(), &random::bytes::<{ Params::DEFAULT_OUTPUT_LEN }>())?;
        Ok(ports::PasswordHash(hash.to_string()))
    }

    /// Returns how many are there that nobody works at.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.free().len()
    }

    /// Returns what the last hash left in memory.
    #[cfg(test)]
    pub(super) fn last_work(&self) -> Vec<u64> {
        let free = self.free();
        free.last().into_iter().flatten().flat_map(|block| block.as_ref().iter().copied()).collect()
    }

    fn made(&self, salt: &[u8], output: &[u8]) -> Result<PasswordHash, HashError> {
        Ok(PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&self.params)?,
            salt: Some(Salt::new(salt)?),
            hash: Some(Output::new(output)?),
        })
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Vec<Block>>> {
        // Nothing can be torn: one is there or not.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Benches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Benches").field("params", &self.params).field("free", &self.free().len()).finish()
    }
}

/// A bench in use; left for the next one when it is dropped. What lies on it is overwritten then.
pub(super) struct Bench<'a> {
    of: &'a Benches,
    blocks: Vec<Block>,
}

impl Bench<'_> {
    /// Returns the hash of a password, with the parameters of new ones.
    pub(super) fn hash(&mut self, password: &[u8], salt: &[u8]) -> Result<PasswordHash, HashError> {
        let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
        let (argon2, blocks) = (argon2(Algorithm::Argon2id, Version::V0x13, self.of.params.clone()), &mut self.blocks);
        argon2.hash_password_into_with_memory(password, salt, &mut output, blocks)?;
        self.of.made(salt, &output)
    }

    /// Answers whether a password is the one behind `hash`, whatever parameters that was made with.
    pub(super) fn verify(&mut self, password: &[u8], hash: &PasswordHash) -> Result<bool, HashError> {
        let (Some(salt), Some(expected)) = (&hash.salt, &hash.hash) else {
            return Ok(false);
        };
        let algorithm = Algorithm::try_from(hash.algorithm.as_str())?;
        let version = hash.version.map(Version::try_from).transpose()?.unwrap_or_default();
        let params = Params::try_from(hash)?;
        let mut output = [0; Output::MAX_LENGTH];
        let output = output.get_mut(..expected.len()).ok_or(HashError::OutputSize)?;
        // One that costs more than ours gets memory of its own, for this once.
        let mut more = (params.block_count() > self.blocks.len()).then(|| blocks(&params));
        let blocks = more.as_mut().unwrap_or(&mut self.blocks);
        argon2(algorithm, version, params).hash_password_into_with_memory(password, salt, output, blocks)?;
        // `Output` compares in constant time.
        Ok(Output::new(output)? == *expected)
    }
}

#[cfg(test)]
impl Bench<'_> {
    /// Returns its size in KiB.
    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        let blocks = std::mem::take(&mut self.blocks);
        self.of.free().push(blocks);
    }
}

fn argon2(algorithm: Algorithm, version: Version, params: Params) -> Argon2<'static> {
    Argon2::new(algorithm, version, params)
}

fn blocks(params: &Params) -> Vec<Block> {
    vec![Block::new(); params.block_count()]
}
