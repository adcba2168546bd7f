//! The OS keyring: Keychain, Credential Manager, or Secret Service.
//!
//! - Keyring calls block, and may hang for ever (a prompt that nobody answers, a daemon that is frozen). All of them run
//!   on one detached thread of the process, in order; whoever waits gives up after a bound and says so, and while the
//!   thread is stuck nobody else waits.
//! - After a save the entry is read back: some backends take a write without keeping it.
//! - "No such entry" from a keyring that was never unlocked looks the same as "logged out". So a login proves the keyring
//!   by writing, and whoever finds nothing asks the stamp whether something was saved
//!   ([`StoreError::EntryMissing`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use keyring_core::{Entry, Error as KeyringError};

use super::entry;
use crate::error::StoreError;
use crate::gate::{Held, TokenStore};
use crate::token::TokenSet;
use crate::worker::{Worker, WorkerFault};

/// The `service` attribute of all our entries.
const SERVICE: &str = "authcli";
const PLACE: &str = "the OS keyring";
const READ_BOUND: Duration = Duration::from_secs(3);
/// Starting the connection counts here too; a write that is given up on may still happen later.
const WRITE_BOUND: Duration = Duration::from_secs(8);

/// Keeps one credential in the OS keyring.
#[derive(Clone, Debug)]
pub struct KeyringStore {
    id: String,
    worker: Worker,
}

impl KeyringStore {
    /// The store of credential `id`. The keyring is not contacted before the first call.
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), worker: Worker::for_keyring() }
    }

    /// Runs a job that changes the keyring. It holds the lock until it is over, also if nobody waits for it any more.
    async fn change<T: Send + 'static>(
        &self,
        held: &Held,
        job: impl FnOnce(&str) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let held = held.clone();
        self.in_keyring(WRITE_BOUND, move |id| {
            let result = job(id);
            drop(held);
            result
        })
        .await
    }

    async fn in_keyring<T: Send + 'static>(
        &self,
        bound: Duration,
        job: impl FnOnce(&str) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let id = self.id.clone();
        match self.worker.run(bound, move || job(&id)).await {
            Ok(result) => result,
            Err(WorkerFault::Late(waited)) => Err(StoreError::KeyringSilent(waited)),
            Err(WorkerFault::Gone) => Err(StoreError::Stopped),
        }
    }
}

impl TokenStore for KeyringStore {
    fn load(&self) -> BoxFuture<'_, Result<Option<TokenSet>, StoreError>> {
        Box::pin(self.in_keyring(READ_BOUND, read))
    }

    /// A keyring can only be proven by writing, which a login does; before a refresh it must at least be there.
    fn prove_writable<'a>(&'a self, _held: &'a Held) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.in_keyring(READ_BOUND, |id| entry_of(id, None).map(drop)))
    }

    fn save<'a>(&'a self, held: &'a Held, tokens: &'a TokenSet) -> BoxFuture<'a, Result<(), StoreError>> {
        let tokens = tokens.clone();
        Box::pin(self.change(held, move |id| {
            let text = entry::encode(&tokens, PLACE)?;
            entry_of(id, Some(&label(&tokens)))?.set_secret(&text).map_err(|error| failed("write", error))?;
            match read(id)? {
                Some(kept) if kept.is_same_save(&tokens) => Ok(()),
                _ => Err(StoreError::Damaged { place: PLACE.into(), what: "a write was not kept".into() }),
            }
        }))
    }

    fn clear<'a>(&'a self, held: &'a Held) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.change(held, |id| match entry_of(id, None)?.delete_credential() {
            Ok(()) | Err(KeyringError::NoEntry) => Ok(()),
            Err(error) => Err(failed("delete", error)),
        }))
    }
}

/// What people see in their keyring's own program.
fn label(tokens: &TokenSet) -> String {
    let account = tokens.account.as_deref().unwrap_or("tokens");
    format!("authcli: {account} at {}", tokens.server.origin().ascii_serialization())
}

fn read(id: &str) -> Result<Option<TokenSet>, StoreError> {
    use secrecy::zeroize::Zeroizing;

    match entry_of(id, None)?.get_secret() {
        Ok(text) => entry::decode(&Zeroizing::new(text), PLACE).map(Some),
        Err(KeyringError::NoEntry) => Ok(None),
        Err(error) => Err(failed("read", error)),
    }
}

/// Returns the entry of credential `id`. The first call of a process connects to the keyring.
fn entry_of(id: &str, label: Option<&str>) -> Result<Entry, StoreError> {
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
    Entry::new_with_modifiers(SERVICE, id, &modifiers).map_err(|error| failed("open", error))
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
