//! Where processes that share a credential meet: an OS advisory lock on a permanent file, and the stamp beside it.
//!
//! - The lock is released by the operating system when its holder ends, however it ends. It is never stolen, and the
//!   file is never removed: a lock on a removed file would lock out nobody.
//! - The lock file lies beside the configuration that names the credential, so whoever can find the credential finds the
//!   lock.
//! - Nothing here waits for another process: the gate polls, and reads the stamp in between.
//! - A file system that does not answer, or has no locks, is an error: nobody goes on without the lock.
//! - Symbolic links are not followed. A credential's lock and stamp lie in a directory that nobody else may enter.
//!
//! A lock file that is removed while it is held no longer keeps anybody out; the attempt key keeps such a pair of
//! refreshes from costing the session.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use tracing::debug;

use crate::error::{StoreError, TokenError};
use crate::gate::{Held, LockHolder, Rendezvous, Stamp};
use crate::private_fs::{self, CALL_BOUND, Durability};
use crate::worker::Worker;

const STAMP_VERSION: u64 = 1;
const POLL: Duration = Duration::from_millis(20);

/// A permanent file that at most one process has locked.
#[derive(Clone, Debug)]
pub struct LockFile {
    path: PathBuf,
    /// Makes the directory, or checks the one that is there.
    prepare: fn(&Path) -> Result<(), StoreError>,
    /// Locking and file calls may hang on a network file system.
    worker: Worker,
    bound: Duration,
}

impl LockFile {
    /// The lock file at `path`; it is made when it is first locked.
    pub fn new(path: PathBuf) -> Self {
        let prepare = private_fs::ensure_directory_exists;
        Self { path, prepare, worker: Worker::for_files(), bound: CALL_BOUND }
    }

    /// The lock file at `path`, in a directory that nobody else may enter.
    fn in_private_directory(path: PathBuf) -> Self {
        Self { prepare: private_fs::ensure_directory, ..Self::new(path) }
    }

    /// Takes the lock, waiting at most `bound` for whoever holds it.
    pub async fn lock_within(&self, bound: Duration) -> Result<Held, TokenError> {
        let start = Instant::now();
        loop {
            if let Some(held) = self.try_lock().await? {
                return Ok(held);
            }
            if start.elapsed() >= bound {
                let LockHolder { path, pid } = self.holder().await;
                return Err(TokenError::LockBusy { holder: pid, path, waited: start.elapsed() });
            }
            sleep(POLL).await;
        }
    }

    async fn try_lock(&self) -> Result<Option<Held>, TokenError> {
        let (path, prepare) = (self.path.clone(), self.prepare);
        // A lock that is taken after all once nobody waits for it is let go with the result.
        let prepared_and_taken = move || {
            // A place that is not fit to keep tokens in is the store's fault, and told as such.
            path.parent().map_or(Ok(()), prepare).map(|()| take(&path))
        };
        let taken = match self.worker.run(self.bound, prepared_and_taken).await {
            Ok(prepared) => prepared?,
            Err(fault) => Err(fault.into_io_error()),
        };
        taken.map_err(|cause| TokenError::LockFailed { path: self.path.clone(), cause: Arc::new(cause) })
    }

    async fn holder(&self) -> LockHolder {
        let path = self.path.clone();
        let pid = self.worker.run(self.bound, move || read_pid(&path)).await.ok().flatten();
        LockHolder { path: self.path.clone(), pid }
    }
}

/// The lock and the stamp of one credential.
#[derive(Clone, Debug)]
pub struct ProcessLock {
    lock: LockFile,
    stamp_path: PathBuf,
}

impl ProcessLock {
    /// The lock of credential `id` under the `configuration` directory.
    pub fn new(configuration: &Path, id: &str) -> Self {
        Self {
            lock: LockFile::in_private_directory(private_fs::credential_path(configuration, id, "lock")),
            stamp_path: private_fs::credential_path(configuration, id, "stamp"),
        }
    }

    /// Takes the lock, waiting at most `bound` for whoever holds it.
    pub async fn lock_within(&self, bound: Duration) -> Result<Held, TokenError> {
        self.lock.lock_within(bound).await
    }
}

impl Rendezvous for ProcessLock {
    fn try_lock(&self) -> BoxFuture<'_, Result<Option<Held>, TokenError>> {
        Box::pin(self.lock.try_lock())
    }

    fn holder(&self) -> BoxFuture<'_, LockHolder> {
        Box::pin(self.lock.holder())
    }

    fn stamp(&self) -> BoxFuture<'_, Option<Stamp>> {
        Box::pin(async {
            let path = self.stamp_path.clone();
            self.lock.worker.run(self.lock.bound, move || read_stamp(&path)).await.ok().flatten()
        })
    }

    fn set_stamp<'a>(&'a self, held: &'a Held, stamp: &'a Stamp) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async {
            let path = self.stamp_path.clone();
            let versioned = VersionedStamp { version: STAMP_VERSION, stamp: stamp.clone() };
            // As with a save: a late write must not replace what the next holder of the lock writes.
            let write = move || write_stamp(&path, &versioned);
            let result = self.lock.worker.run_holding(self.lock.bound, held, write).await;
            result.unwrap_or_else(|fault| Err(fault.of_file("write", &self.stamp_path)))
        })
    }
}

#[derive(Serialize, Deserialize)]
struct VersionedStamp {
    version: u64,
    #[serde(flatten)]
    stamp: Stamp,
}

fn write_stamp(path: &Path, stamp: &VersionedStamp) -> Result<(), StoreError> {
    let text = serde_json::to_vec(stamp).map_err(|error| StoreError::Damaged {
        place: path.display().to_string(),
        what: format!("it cannot be written as JSON ({:?})", error.classify()),
    })?;
    private_fs::replace(path, &text, Durability::Replaceable)
}

fn read_stamp(path: &Path) -> Option<Stamp> {
    let text = match private_fs::read(path) {
        Ok(text) => text?,
        Err(error) => {
            debug!(%error, "the stamp is unreadable and ignored");
            return None;
        }
    };
    match serde_json::from_slice::<VersionedStamp>(&text) {
        Ok(versioned) if versioned.version <= STAMP_VERSION => Some(versioned.stamp),
        Ok(_) | Err(_) => {
            debug!(path = %path.display(), "the stamp is damaged or of a newer version, and ignored");
            None
        }
    }
}

/// Takes the lock on `path` if it is free.
fn take(path: &Path) -> io::Result<Option<Held>> {
    let mut file = private_fs::open_permanent(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        // A network file system may be interrupted by a signal; whoever asks comes back.
        Err(TryLockError::Error(cause)) if cause.kind() == io::ErrorKind::Interrupted => return Ok(None),
        Err(TryLockError::Error(cause)) => return Err(cause),
    }
    if !is_still_at(path, &file)? {
        // Somebody removed or replaced the file between the open and the lock: this lock would lock out nobody.
        return Ok(None);
    }
    // For messages alone; a holder that could not write its id holds the lock all the same.
    let note = (|| {
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{}", std::process::id())
    })();
    if let Err(error) = note {
        debug!(%error, "could not note the process id in the lock file");
    }
    Ok(Some(Held::new(file)))
}

fn read_pid(path: &Path) -> Option<u32> {
    let mut text = String::new();
    File::open(path).ok()?.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(unix)]
fn is_still_at(path: &Path, file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;

    let opened = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(found) => Ok(found.dev() == opened.dev() && found.ino() == opened.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// An open file cannot be removed or replaced there.
#[cfg(not(unix))]
fn is_still_at(_path: &Path, _file: &File) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests;
