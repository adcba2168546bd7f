//! A credential in memory, renewed at a word: what a gate costs by itself, without files and network.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use authcli::clock::SystemClock;
use authcli::error::{StoreError, TokenError};
use authcli::expiry::Lifetime;
use authcli::gate::{
    Clock as _, Held, LockHolder, Ports, RefreshGate, Rendezvous, Renewal, RenewalError, Stamp, TokenStore, WayOut,
    Work,
};
use authcli::token::{AttemptKey, Generation, IssuedTokens, Secret, SessionId, TokenSet};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::Notify;
use url::Url;

const LIFETIME: Duration = Duration::from_hours(1);

/// The store, the lock and the token endpoint of one credential.
#[derive(Default)]
pub(crate) struct Memory {
    stored: Mutex<Option<TokenSet>>,
    stamp: Mutex<Option<Stamp>>,
    /// When the last save was over.
    saved_at: Mutex<Option<Instant>>,
    renewals: AtomicUsize,
    /// Lets the next renewal answer, at once if it is under way.
    pub(crate) answer: Notify,
}

impl Memory {
    /// A gate on a new session, whose token was received at `received_at` and lives for an hour.
    pub(crate) fn gate(self: &Arc<Self>, received_at: Timestamp, work: Work) -> RefreshGate {
        let tokens = tokens(received_at);
        *unpoisoned(&self.stored) = Some(tokens.clone());
        let ports = Ports {
            store: Arc::clone(self) as _,
            rendezvous: Arc::clone(self) as _,
            renewal: Arc::clone(self) as _,
            clock: Arc::new(SystemClock),
        };
        RefreshGate::new(tokens, ports, work)
    }

    pub(crate) fn saved_at(&self) -> Option<Instant> {
        *unpoisoned(&self.saved_at)
    }

    pub(crate) fn renewals(&self) -> usize {
        self.renewals.load(Ordering::Relaxed)
    }
}

/// The first tokens of a session.
pub(crate) fn tokens(received_at: Timestamp) -> TokenSet {
    let nowhere = Url::parse("http://127.0.0.1:0/").expect("a constant URL");
    let IssuedTokens { access_token, refresh_token, access_lifetime, refresh_lifetime } = issued();
    TokenSet {
        session: SessionId::random().expect("random bytes"),
        generation: Generation::FIRST,
        server: nowhere.clone(),
        refresh_endpoint: nowhere,
        revocation_endpoint: None,
        oauth: None,
        account: None,
        access_token,
        refresh_token,
        attempt_key: AttemptKey::random().expect("random bytes"),
        received_at,
        refresh_received_at: received_at,
        access_lifetime,
        refresh_lifetime,
    }
}

/// A token's receipt that makes it fresh.
pub(crate) fn just_now() -> Timestamp {
    SystemClock.now()
}

/// A token's receipt that makes it stale.
pub(crate) fn long_ago() -> Timestamp {
    SystemClock.now() - 2 * LIFETIME
}

fn issued() -> IssuedTokens {
    IssuedTokens {
        access_token: Secret::new("access"),
        refresh_token: Some(Secret::new("refresh")),
        access_lifetime: Lifetime::of(LIFETIME),
        refresh_lifetime: Lifetime::UNKNOWN,
    }
}

impl TokenStore for Memory {
    fn load(&self) -> BoxFuture<'_, Result<Option<TokenSet>, StoreError>> {
        Box::pin(async { Ok(unpoisoned(&self.stored).clone()) })
    }

    fn prove_writable<'a>(&'a self, _held: &'a Held) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }

    fn save<'a>(&'a self, _held: &'a Held, tokens: &'a TokenSet) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async {
            *unpoisoned(&self.stored) = Some(tokens.clone());
            *unpoisoned(&self.saved_at) = Some(Instant::now());
            Ok(())
        })
    }

    fn clear<'a>(&'a self, _held: &'a Held) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async {
            *unpoisoned(&self.stored) = None;
            Ok(())
        })
    }
}

impl Rendezvous for Memory {
    /// One process has this credential, and its gate flies one flight at a time.
    fn try_lock(&self) -> BoxFuture<'_, Result<Option<Held>, TokenError>> {
        Box::pin(async { Ok(Some(Held::new(()))) })
    }

    fn holder(&self) -> BoxFuture<'_, LockHolder> {
        Box::pin(async { LockHolder { path: "memory".into(), pid: None } })
    }

    fn stamp(&self) -> BoxFuture<'_, Option<Stamp>> {
        Box::pin(async { unpoisoned(&self.stamp).clone() })
    }

    fn set_stamp<'a>(&'a self, _held: &'a Held, stamp: &'a Stamp) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async {
            *unpoisoned(&self.stamp) = Some(stamp.clone());
            Ok(())
        })
    }
}

impl Renewal for Memory {
    fn renew<'a>(
        &'a self,
        _tokens: &'a TokenSet,
        _way_out: &'a WayOut,
    ) -> BoxFuture<'a, Result<IssuedTokens, RenewalError>> {
        Box::pin(async {
            self.renewals.fetch_add(1, Ordering::Relaxed);
            self.answer.notified().await;
            Ok(issued())
        })
    }
}

/// Every write is a single assignment, so a panic elsewhere has torn nothing.
fn unpoisoned<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
