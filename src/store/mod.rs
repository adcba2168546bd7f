//! Where tokens are kept between runs: the OS keyring, or a private file where a person asked for one.
//!
//! The store is chosen at login and never changed behind anyone's back: a keyring that is away is an error, not a
//! reason to write a file.

mod entry;
mod file;
mod keyring;
mod split;

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(crate) use self::entry::tests::sample as sample_tokens;
pub use self::file::FileStore;
pub use self::keyring::KeyringStore;
use crate::error::StoreError;
use crate::gate::TokenStore;
use crate::token::TokenSet;

/// The kinds of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// Keychain, Credential Manager, or Secret Service.
    Keyring,
    /// A file that only its owner may read.
    File,
}

impl StoreKind {
    /// Opens the store of this kind for credential `id`. Nothing is read or written yet.
    pub fn open(self, configuration: &Path, id: &str) -> Arc<dyn TokenStore> {
        match self {
            Self::Keyring => Arc::new(KeyringStore::new(id)),
            Self::File => Arc::new(FileStore::new(configuration, id)),
        }
    }

    /// Writes `tokens` as an entry of their own, reads them back and deletes them, all in one go: also if nobody waits for
    /// it any more, nothing is left.
    pub(crate) async fn prove(self, configuration: &Path, id: &str, tokens: TokenSet) -> Result<(), StoreError> {
        match self {
            Self::Keyring => KeyringStore::new(id).prove(tokens).await,
            Self::File => FileStore::new(configuration, id).prove(tokens).await,
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Keyring => "keyring",
            Self::File => "file",
        })
    }
}

impl FromStr for StoreKind {
    type Err = UnknownStore;

    fn from_str(text: &str) -> Result<Self, UnknownStore> {
        match text {
            "keyring" => Ok(Self::Keyring),
            "file" => Ok(Self::File),
            other => Err(UnknownStore(other.to_owned())),
        }
    }
}

/// The text names no kind of store.
#[derive(Clone, Debug, thiserror::Error)]
#[error("unknown store `{0}`; there are `keyring` and `file`")]
pub struct UnknownStore(String);
