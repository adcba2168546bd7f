//! A process of a case: the gate's ports, each operation of which takes a few turns, and none of which ever ends in a
//! process that is dead.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::server::Pair;
use super::steps::Saves;
use super::universe::{Role, Universe, pair};
use super::wire::issued;
use crate::error::{Cause, StoreError, TokenError};
use crate::expiry::Lifetime;
use crate::gate::{
    Clock, Ended, Ending, Held, LockHolder, Ports, Rendezvous, Renewal, RenewalError, Stamp, TokenStore, WayOut,
};
use crate::token::{AttemptKey, Generation, IssuedTokens, SessionId, TokenSet};

#[derive(Clone)]
pub(super) struct Process {
    pub(super) universe: Arc<Universe>,
    pub(super) number: usize,
    pub(super) role: Role,
    pub(super) alive: Arc<AtomicBool>,
}

impl Process {
    pub(super) fn new(universe: &Arc<Universe>, number: usize, role: Role) -> Self {
        Self { universe: Arc::clone(universe), number, role, alive: Arc::new(AtomicBool::new(true)) }
    }

    pub(super) fn ports(&self) -> Ports {
        let this = Arc::new(self.clone());
        Ports { store: this.clone(), rendezvous: this.clone(), renewal: this.clone(), clock: this }
    }

    pub(super) fn die(&self) {
        self.alive.store(false, Ordering::Relaxed);
        self.universe.state().bury(self.number);
    }

    /// Lets others run for a while. Whoever is dead afterwards goes no further.
    async fn turns(&self, least: usize) {
        for _ in 0..least + usize::from(self.universe.next_turns()) {
            self.universe.activity.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
        if !self.alive.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
    }

    /// Does a write, which may fail, and of which the caller may not live to learn.
    async fn write(&self, write: impl FnOnce() + Send) -> Result<(), StoreError> {
        self.turns(1).await;
        let saves = self.universe.state().saves;
        if matches!(saves, Saves::Succeed | Saves::FailButWrite) {
            write();
        } else {
            self.universe.state().note(format!("process {} cannot write", self.number));
        }
        self.turns(1).await;
        if saves == Saves::Succeed { Ok(()) } else { Err(StoreError::Stopped) }
    }

    /// Waits for the lock as `ProcessLock::lock_within` does.
    async fn lock_within(&self, bound: Duration) -> Option<Held> {
        let start = Instant::now();
        loop {
            if let Ok(Some(held)) = self.try_lock().await {
                return Some(held);
            }
            if start.elapsed() >= bound {
                return None;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Logs in, as `Credential::replace` does: the network outside the lock, the rest within. The session that stood
    /// before is revoked afterwards.
    pub(super) async fn log_in(self) {
        let first = self.universe.state().server.log_in();
        let received_at = self.now();
        self.turns(1).await;
        let Some(held) = self.lock_within(Duration::from_secs(45)).await else { return };
        let before = self.load().await.unwrap_or_default();
        let stamped = self.stamp().await.map(|stamp| stamp.generation);
        let last = before.as_ref().map(|tokens| tokens.generation).max(stamped);
        let tokens = login(first, last.map_or(Generation::FIRST, Generation::next), received_at);
        if self.save(&held, &tokens).await.is_err() {
            return;
        }
        let stamped = self.set_stamp(&held, &Stamp::of(&tokens)).await;
        drop(held);
        if let (Ok(()), Some(before)) = (stamped, before) {
            self.turns(1).await;
            self.universe.state().server.revoke(pair(&before).login);
        }
    }

    /// Logs out of the session of `known`: revokes it at a server that hears it, then does as `Credential::forget` does.
    pub(super) async fn log_out(self, known: TokenSet, server_hears: bool) {
        if server_hears {
            self.universe.state().server.revoke(pair(&known).login);
        }
        self.turns(1).await;
        let Some(held) = self.lock_within(Duration::from_secs(45)).await else { return };
        let Ok(Some(stored)) = self.load().await else { return };
        let stamp = self.stamp().await.unwrap_or_else(|| Stamp::of(&stored));
        let last = stored.generation.max(stamp.generation);
        if stored.session != known.session || (stamp.session != stored.session && last > stored.generation) {
            return;
        }
        let ended = Some(Ended { at: self.now(), how: Ending::LoggedOut, interrupted_at: None });
        let tombstone = Stamp { ended, generation: last, ..Stamp::of(&stored) };
        if self.set_stamp(&held, &tombstone).await.is_ok() {
            drop(self.clear(&held).await);
        }
    }
}

/// The first tokens of a login.
pub(super) fn login(pair: Pair, generation: Generation, received_at: Timestamp) -> TokenSet {
    let IssuedTokens { access_token, refresh_token, access_lifetime, refresh_lifetime } =
        issued(pair, Lifetime::of(Duration::from_secs(100)));
    TokenSet {
        session: SessionId::random().unwrap(),
        generation,
        server: pair.origin(),
        refresh_endpoint: pair.origin(),
        revocation_endpoint: None,
        oauth: None,
        account: None,
        access_token,
        refresh_token,
        attempt_key: AttemptKey::random().unwrap(),
        received_at,
        refresh_received_at: received_at,
        access_lifetime,
        refresh_lifetime,
    }
}

struct Unlock(Process, u64);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.universe.state().unlock(self.0.number, self.1);
    }
}

impl Clock for Process {
    fn now(&self) -> Timestamp {
        self.universe.now()
    }
}

impl TokenStore for Process {
    fn load(&self) -> BoxFuture<'_, Result<Option<TokenSet>, StoreError>> {
        async {
            self.turns(1).await;
            let loaded = self.universe.state().load(self.number);
            self.turns(1).await;
            Ok(loaded)
        }
        .boxed()
    }

    fn prove_writable<'a>(&'a self, _held: &'a Held) -> BoxFuture<'a, Result<(), StoreError>> {
        async {
            self.turns(1).await;
            let foreseen = self.universe.state().saves == Saves::FailForeseeably;
            if foreseen { Err(StoreError::Stopped) } else { Ok(()) }
        }
        .boxed()
    }

    fn save<'a>(&'a self, _held: &'a Held, tokens: &'a TokenSet) -> BoxFuture<'a, Result<(), StoreError>> {
        self.write(|| self.universe.state().save(self.number, &self.role, tokens)).boxed()
    }

    fn clear<'a>(&'a self, _held: &'a Held) -> BoxFuture<'a, Result<(), StoreError>> {
        self.write(|| self.universe.state().clear(self.number, &self.role)).boxed()
    }
}

impl Rendezvous for Process {
    fn try_lock(&self) -> BoxFuture<'_, Result<Option<Held>, TokenError>> {
        async {
            // Those who come in the same moment come in the order of their numbers, not in that of the gate's random
            // pauses: so a case stays the same case when it is run again.
            self.turns(1 + 4 * (self.number % 8)).await;
            let holding = self.universe.state().try_lock(self.number);
            Ok(holding.map(|holding| Held::new(Unlock(self.clone(), holding))))
        }
        .boxed()
    }

    fn holder(&self) -> BoxFuture<'_, LockHolder> {
        async { LockHolder { path: "the lock".into(), pid: None } }.boxed()
    }

    fn stamp(&self) -> BoxFuture<'_, Option<Stamp>> {
        async {
            self.turns(1).await;
            self.universe.state().stamp.clone()
        }
        .boxed()
    }

    fn set_stamp<'a>(&'a self, _held: &'a Held, stamp: &'a Stamp) -> BoxFuture<'a, Result<(), StoreError>> {
        async {
            self.turns(1).await;
            self.universe.state().set_stamp(self.number, stamp);
            self.turns(1).await;
            Ok(())
        }
        .boxed()
    }
}

impl Renewal for Process {
    fn renew<'a>(
        &'a self,
        tokens: &'a TokenSet,
        _way_out: &'a WayOut,
    ) -> BoxFuture<'a, Result<IssuedTokens, RenewalError>> {
        async {
            self.turns(1).await;
            let answer = self.universe.state().send(self.number, &self.role, tokens);
            match answer.await {
                Ok(answer) => answer,
                // Nobody will answer: only the flight's own bound ends this.
                Err(_) => pending().await,
            }
        }
        .boxed()
    }

    fn revoke_refused<'a>(&'a self, tokens: &'a TokenSet) -> BoxFuture<'a, Result<(), Cause>> {
        async {
            self.turns(1).await;
            self.universe.state().revoke_refused(tokens);
            Ok(())
        }
        .boxed()
    }
}
