//! The file store: one JSON file of mode 0600 in a directory of mode 0700.
//!
//! Writes are atomic and durable (temporary file, `fsync`, rename, `fsync` of the directory). Symbolic links, other
//! owners and wider modes are refused, for reading and for writing.

use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;

use super::entry;
use crate::error::StoreError;
use crate::gate::{Held, TokenStore};
use crate::private_fs::{self, Durability};
use crate::token::TokenSet;
use crate::worker::Worker;

/// Keeps one credential in a private file.
#[derive(Clone, Debug)]
pub struct FileStore {
    path: PathBuf,
    /// A disk may be slow or gone.
    worker: Worker,
}

impl FileStore {
    /// The store of credential `id` under the `configuration` directory.
    pub fn new(configuration: &Path, id: &str) -> Self {
        let path = private_fs::credential_path(configuration, id, "json");
        Self { path, worker: Worker::start("authcli-file-store") }
    }

    /// Runs a job that changes the disk. It holds the lock until it is over, also if nobody waits for it any more.
    async fn change<T: Send + 'static>(
        &self,
        held: &Held,
        job: impl FnOnce(&Path) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let held = held.clone();
        self.on_disk(move |path| {
            let result = job(path);
            drop(held);
            result
        })
        .await
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Path) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = self.path.clone();
        self.worker.run(move || job(&path)).await.unwrap_or(Err(StoreError::Stopped))
    }
}

impl TokenStore for FileStore {
    fn load(&self) -> BoxFuture<'_, Result<Option<TokenSet>, StoreError>> {
        Box::pin(self.on_disk(|path| {
            let Some(text) = private_fs::read(path)? else {
                return Ok(None);
            };
            entry::decode(&text, &path.display().to_string()).map(Some)
        }))
    }

    fn prove_writable<'a>(&'a self, _held: &'a Held) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.on_disk(|path| {
            ensure_parent(path)?;
            let temporary = private_fs::temporary_beside(path);
            temporary.map(drop).map_err(|cause| StoreError::File {
                action: "write beside",
                path: path.into(),
                cause: std::sync::Arc::new(cause),
            })
        }))
    }

    fn save<'a>(&'a self, held: &'a Held, tokens: &'a TokenSet) -> BoxFuture<'a, Result<(), StoreError>> {
        let text = entry::encode(tokens, &self.path.display().to_string());
        Box::pin(self.change(held, move |path| {
            ensure_parent(path)?;
            private_fs::replace(path, &text?, Durability::Durable)
        }))
    }

    fn clear<'a>(&'a self, held: &'a Held) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.change(held, private_fs::remove))
    }
}

fn ensure_parent(path: &Path) -> Result<(), StoreError> {
    path.parent().map_or(Ok(()), private_fs::ensure_directory)
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::store::entry::tests::sample;

    struct Place {
        _directory: tempfile::TempDir,
        store: FileStore,
        held: Held,
    }

    async fn filled() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::new(directory.path(), "one");
        let held = Held::new(());
        store.save(&held, &sample()).await.unwrap();
        Place { _directory: directory, store, held }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn what_was_saved_is_loaded_and_private() {
        let place = filled().await;
        let loaded = place.store.load().await.unwrap().unwrap();
        assert!(loaded.is_same_save(&sample()));
        assert_eq!(mode(&place.store.path), 0o600);
        assert_eq!(mode(place.store.path.parent().unwrap()), 0o700);
    }

    #[tokio::test]
    async fn nothing_is_left_after_a_clear_and_a_second_clear_is_no_error() {
        let place = filled().await;
        place.store.clear(&place.held).await.unwrap();
        place.store.clear(&place.held).await.unwrap();
        assert!(place.store.load().await.unwrap().is_none());
        assert_eq!(fs::read_dir(place.store.path.parent().unwrap()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_file_that_others_may_read_is_refused() {
        let place = filled().await;
        fs::set_permissions(&place.store.path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = place.store.load().await.unwrap_err();
        assert!(matches!(&error, StoreError::Unsafe { why, .. } if why.contains("chmod 600")), "{error}");
    }

    #[tokio::test]
    async fn a_directory_that_others_may_enter_is_refused_before_anything_is_written() {
        let place = filled().await;
        let directory = place.store.path.parent().unwrap();
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
        let before = fs::metadata(&place.store.path).unwrap().modified().unwrap();
        let error = place.store.save(&place.held, &sample()).await.unwrap_err();
        assert!(matches!(error, StoreError::Unsafe { .. }), "{error}");
        assert_eq!(fs::metadata(&place.store.path).unwrap().modified().unwrap(), before);
    }

    #[tokio::test]
    async fn a_symbolic_link_is_not_followed() {
        let place = filled().await;
        let real = place.store.path.with_extension("real");
        fs::rename(&place.store.path, &real).unwrap();
        symlink(&real, &place.store.path).unwrap();
        let error = place.store.load().await.unwrap_err();
        assert!(matches!(&error, StoreError::Unsafe { why, .. } if why.contains("symbolic link")), "{error}");
    }

    #[tokio::test]
    async fn a_named_pipe_does_not_hang() {
        let place = filled().await;
        fs::remove_file(&place.store.path).unwrap();
        let path = place.store.path.clone();
        assert!(std::process::Command::new("mkfifo").arg("-m").arg("600").arg(&path).status().unwrap().success());
        let error = place.store.load().await.unwrap_err();
        assert!(matches!(error, StoreError::Unsafe { .. }), "{error}");
    }
}
