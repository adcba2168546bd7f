//! The file store: one JSON file of mode 0600 in a directory of mode 0700.
//!
//! - Writes are atomic and durable (temporary file, `fsync`, rename, `fsync` of the directory). What a killed writer left
//!   is removed by the next save or clear.
//! - Symbolic links, other owners and wider modes are refused, for reading and for writing.
//! - A disk that does not answer is an error after [`CALL_BOUND`]. A write that was given up on keeps the process lock
//!   until it is over, so it can never replace a newer one.
//! - Before a refresh as much is written as an entry has, so that a full disk is noticed while the refresh token is good.
//!
//! It does not encrypt: whoever may read the user's files, or a backup of them, has the tokens.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::entry;
use crate::error::StoreError;
use crate::gate::{Held, TokenStore};
use crate::private_fs::{self, CALL_BOUND, Durability};
use crate::token::TokenSet;
use crate::worker::Worker;

/// Keeps one credential in a private file.
#[derive(Clone, Debug)]
pub struct FileStore {
    path: PathBuf,
    /// A disk may be slow or gone.
    worker: Worker,
    bound: Duration,
}

impl FileStore {
    /// The store of credential `id` under the `configuration` directory.
    pub fn new(configuration: &Path, id: &str) -> Self {
        let path = private_fs::credential_path(configuration, id, "json");
        Self { path, worker: Worker::for_files(), bound: CALL_BOUND }
    }

    /// See [`StoreKind::prove`](super::StoreKind::prove).
    pub(super) async fn prove(&self, tokens: TokenSet) -> Result<(), StoreError> {
        self.on_disk("write", move |path| {
            ensure_parent(path)?;
            let text = entry::encode(&tokens, &path.display().to_string())?;
            let kept = private_fs::replace(path, &text, Durability::Durable).and_then(|()| private_fs::read(path));
            private_fs::remove(path)?;
            if kept? == Some(text) {
                return Ok(());
            }
            Err(StoreError::Damaged { place: path.display().to_string(), what: "a write was not kept".into() })
        })
        .await
    }

    /// Runs a job that changes the disk. It holds the lock until it is over, also if nobody waits for it any more.
    async fn change<T: Send + 'static>(
        &self,
        held: &Held,
        action: &'static str,
        job: impl FnOnce(&Path) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = self.path.clone();
        let result = self.worker.run_holding(self.bound, held, move || job(&path)).await;
        result.unwrap_or_else(|fault| Err(fault.of_file(action, &self.path)))
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        action: &'static str,
        job: impl FnOnce(&Path) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = self.path.clone();
        let result = self.worker.run(self.bound, move || job(&path)).await;
        result.unwrap_or_else(|fault| Err(fault.of_file(action, &self.path)))
    }
}

impl TokenStore for FileStore {
    fn load(&self) -> BoxFuture<'_, Result<Option<TokenSet>, StoreError>> {
        Box::pin(self.on_disk("read", |path| {
            let Some(text) = private_fs::read(path)? else {
                return Ok(None);
            };
            entry::decode(&text, &path.display().to_string()).map(Some)
        }))
    }

    fn prove_writable<'a>(&'a self, held: &'a Held) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.change(held, "write beside", |path| {
            ensure_parent(path)?;
            private_fs::prove_replaceable(path)
        }))
    }

    fn save<'a>(&'a self, held: &'a Held, tokens: &'a TokenSet) -> BoxFuture<'a, Result<(), StoreError>> {
        let text = entry::encode(tokens, &self.path.display().to_string());
        Box::pin(self.change(held, "write", move |path| {
            ensure_parent(path)?;
            private_fs::replace(path, &text?, Durability::Durable)
        }))
    }

    fn clear<'a>(&'a self, held: &'a Held) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.change(held, "remove", private_fs::remove))
    }
}

fn ensure_parent(path: &Path) -> Result<(), StoreError> {
    path.parent().map_or(Ok(()), private_fs::ensure_directory)
}

#[cfg(unix)]
#[cfg(test)]
mod tests;
