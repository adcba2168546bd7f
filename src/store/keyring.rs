//! The OS keyring: Keychain, Credential Manager, or Secret Service.
//!
//! - Keyring calls block, and may hang for ever (a prompt that nobody answers, a daemon that is frozen). All of them run
//!   on one detached thread of the process, in order; whoever waits gives up after a bound and says so, and while the
//!   thread is stuck nobody else waits.
//! - A write that was given up on keeps the process lock until it is over, so it can never replace a newer one.
//! - After a save the entry is read back: some backends take a write without keeping it.
//! - An entry that is too large for the platform is split ([`split`]).
//! - "No such entry" from a keyring that was never unlocked looks the same as "logged out". So a login proves the keyring
//!   by writing, and whoever finds nothing asks the stamp whether something was saved
//!   ([`StoreError::EntryMissing`]).
//!
//! It does not unlock: a keyring that asks for its password in a window of its own may do so, but nobody waits for that
//! longer than for any other call.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use keyring_core::{Entry, Error as KeyringError};
use secrecy::zeroize::Zeroizing;

use super::entry;
use super::split::{self, Cells};
use crate::error::StoreError;
use crate::gate::{Held, TokenStore};
use crate::token::TokenSet;
use crate::worker::{Worker, WorkerFault};

/// The `service` attribute of all our entries.
const SERVICE: &str = "authcli";
const PLACE: &str = "the OS keyring";
const READ_BOUND: Duration = Duration::from_secs(3);
/// A write that is given up on may still happen later. It leaves some of the 10 s of the way out to the rest.
const WRITE_BOUND: Duration = Duration::from_secs(7);
/// `CRED_MAX_CREDENTIAL_BLOB_SIZE` of the Windows SDK. The other keyrings take whatever tokens there are (a Secret
/// Service takes a megabyte).
const CELL_LIMIT: Option<usize> = if cfg!(target_os = "windows") { Some(2560) } else { None };

/// Keeps one credential in the OS keyring.
#[derive(Clone, Debug)]
pub struct KeyringStore {
    id: String,
    cells: Arc<dyn Cells>,
    worker: Worker,
    /// Whether the keyring has ever answered this store.
    answers: Arc<AtomicBool>,
    read_bound: Duration,
    write_bound: Duration,
}

impl KeyringStore {
    /// The store of credential `id`. The keyring is not contacted before the first call.
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            cells: Arc::new(OsKeyring),
            worker: Worker::for_keyring(),
            answers: Arc::default(),
            read_bound: READ_BOUND,
            write_bound: WRITE_BOUND,
        }
    }

    /// Runs a job that changes the keyring. It holds the lock until it is over, also if nobody waits for it any more.
    async fn change<T: Send + 'static>(
        &self,
        held: &Held,
        job: impl FnOnce(&dyn Cells, &str) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        // A write is waited for longer, but not of a keyring that may not be there at all.
        if !self.answers.load(Ordering::Relaxed) {
            self.in_keyring(self.read_bound, |cells, id| cells.read(id).map(drop)).await?;
        }
        let (id, cells) = (self.id.clone(), Arc::clone(&self.cells));
        self.noted(self.worker.run_holding(self.write_bound, held, move || job(&*cells, &id)).await)
    }

    /// See [`StoreKind::prove`](super::StoreKind::prove).
    pub(super) async fn prove(&self, tokens: TokenSet) -> Result<(), StoreError> {
        self.change(&Held::new(()), move |cells, id| {
            let kept = write(cells, id, &tokens);
            split::clear(cells, id)?;
            kept
        })
        .await
    }

    async fn in_keyring<T: Send + 'static>(
        &self,
        bound: Duration,
        job: impl FnOnce(&dyn Cells, &str) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (id, cells) = (self.id.clone(), Arc::clone(&self.cells));
        self.noted(self.worker.run(bound, move || job(&*cells, &id)).await)
    }

    /// Notes whether the keyring answered, and returns what it did.
    fn noted<T>(&self, result: Result<Result<T, StoreError>, WorkerFault>) -> Result<T, StoreError> {
        match result {
            Ok(result) => {
                self.answers.store(true, Ordering::Relaxed);
                result
            }
            Err(WorkerFault::Late(waited)) => Err(StoreError::KeyringSilent(waited)),
            Err(WorkerFault::Gone) => Err(StoreError::Stopped),
        }
    }
}

impl TokenStore for KeyringStore {
    fn load(&self) -> BoxFuture<'_, Result<Option<TokenSet>, StoreError>> {
        Box::pin(self.in_keyring(self.read_bound, read))
    }

    /// A keyring can only be proven by writing, which a login does; before a refresh it must at least answer.
    fn prove_writable<'a>(&'a self, _held: &'a Held) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.in_keyring(self.read_bound, |cells, id| cells.read(id).map(drop)))
    }

    fn save<'a>(&'a self, held: &'a Held, tokens: &'a TokenSet) -> BoxFuture<'a, Result<(), StoreError>> {
        let tokens = tokens.clone();
        Box::pin(self.change(held, move |cells, id| write(cells, id, &tokens)))
    }

    fn clear<'a>(&'a self, held: &'a Held) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.change(held, split::clear))
    }
}

/// Saves, and proves that it was kept.
fn write(cells: &dyn Cells, id: &str, tokens: &TokenSet) -> Result<(), StoreError> {
    let text = entry::encode(tokens, PLACE)?;
    split::write(cells, id, &label(tokens), &text)?;
    match read(cells, id)? {
        Some(kept) if kept.is_same_save(tokens) => Ok(()),
        _ => Err(StoreError::Damaged { place: PLACE.into(), what: "a write was not kept".into() }),
    }
}

fn read(cells: &dyn Cells, id: &str) -> Result<Option<TokenSet>, StoreError> {
    split::read(cells, id)?.map(|text| entry::decode(&text, PLACE)).transpose()
}

/// The keyring of the platform; a cell is an entry of it.
#[derive(Debug)]
struct OsKeyring;

impl Cells for OsKeyring {
    fn place(&self) -> &'static str {
        PLACE
    }

    fn limit(&self) -> Option<usize> {
        CELL_LIMIT
    }

    fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        match entry_of(name, None)?.get_secret() {
            Ok(content) => Ok(Some(Zeroizing::new(content))),
            Err(KeyringError::NoEntry) => Ok(None),
            Err(error) => Err(failed("read", error)),
        }
    }

    fn write(&self, name: &str, label: &str, content: &[u8]) -> Result<(), StoreError> {
        entry_of(name, Some(label))?.set_secret(content).map_err(|error| failed("write", error))
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        match entry_of(name, None)?.delete_credential() {
            Ok(()) | Err(KeyringError::NoEntry) => Ok(()),
            Err(error) => Err(failed("delete", error)),
        }
    }
}

/// What people see in their keyring's own program.
fn label(tokens: &TokenSet) -> String {
    let account = tokens.account.as_deref().unwrap_or("tokens");
    format!("authcli: {account} at {}", tokens.server.origin().ascii_serialization())
}

/// Returns the keyring's entry called `name`. The first call of a process connects to the keyring.
fn entry_of(name: &str, label: Option<&str>) -> Result<Entry, StoreError> {
    if let Err(error) = keyring::v1::Entry::store_status() {
        // The status is kept for the life of the process and cannot be moved out, so its text is.
        return Err(StoreError::NoKeyring(Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(
            error.to_string(),
        ))));
    }
    // Only the Secret Service has labels of its own; elsewhere the modifier would be an error.
    let modifiers: HashMap<&str, &str> = label
        .filter(|_| cfg!(not(any(target_os = "macos", target_os = "windows"))))
        .map(|label| ("label", label))
        .into_iter()
        .collect();
    Entry::new_with_modifiers(SERVICE, name, &modifiers).map_err(|error| failed("open", error))
}

fn failed(action: &'static str, error: KeyringError) -> StoreError {
    match error {
        // These two carry the secret's own bytes; their text is dropped with them.
        KeyringError::BadEncoding(_) | KeyringError::BadDataFormat(..) => {
            StoreError::Damaged { place: PLACE.into(), what: "it is not in the form that the keyring uses".into() }
        }
        KeyringError::NoStorageAccess(cause) => StoreError::NoKeyring(Arc::from(cause)),
        error => StoreError::Keyring { action, cause: Arc::new(error) },
    }
}

#[cfg(test)]
mod tests;
