//! The world of the gate's tests.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use url::Url;

use crate::error::{Cause, StoreError, TokenError};
use crate::expiry::Lifetime;
use crate::gate::core::Outcome;
use crate::gate::{
    Clock, Held, LockHolder, Ports, RefreshGate, Rendezvous, Renewal, RenewalError, Stamp, TokenStore, WayOut, Work,
};
use crate::token::{AttemptKey, Generation, IssuedTokens, Secret, SessionId, TokenSet};

pub(super) const LIFETIME: Duration = Duration::from_secs(100);

/// One credential with all that is around it.
pub(super) struct World {
    shared: Arc<Shared>,
    calls: mpsc::UnboundedReceiver<Call>,
}

/// What all processes see.
pub(super) struct Shared {
    started: Instant,
    clock_offset_ms: AtomicI64,
    stored: Mutex<Option<TokenSet>>,
    pub(super) saves: AtomicUsize,
    pub(super) clears: AtomicUsize,
    pub(super) loads: AtomicUsize,
    save_failures: Mutex<VecDeque<StoreError>>,
    stamp: Mutex<Option<Stamp>>,
    locked: Arc<AtomicBool>,
    calls: mpsc::UnboundedSender<Call>,
    /// What was revoked after its renewal was refused.
    revoked: Mutex<Vec<TokenSet>>,
    pub(super) revocations_hang: AtomicBool,
}

/// One renewal that a gate asked for.
pub(super) struct Call {
    pub(super) tokens: TokenSet,
    reply: oneshot::Sender<Result<IssuedTokens, RenewalError>>,
}

impl Call {
    /// Answers with new tokens that live for `lifetime`.
    pub(super) fn succeed_for(self, lifetime: Duration) {
        let issued = IssuedTokens {
            // The same bytes every time: identity must not depend on them.
            access_token: Secret::new("access"),
            refresh_token: Some(Secret::new("refresh")),
            access_lifetime: Lifetime::of(lifetime),
            refresh_lifetime: Lifetime::UNKNOWN,
        };
        // The gate may have been dropped; then nobody waits.
        let _ = self.reply.send(Ok(issued));
    }

    pub(super) fn succeed(self) {
        self.succeed_for(LIFETIME);
    }

    pub(super) fn fail(self, error: RenewalError) {
        let _ = self.reply.send(Err(error));
    }

    pub(super) fn refuse(self) {
        self.fail(RenewalError::SessionEnded { reason: "Invalid refresh token".into(), unanswered: false });
    }

    pub(super) fn be_away(self, retry_after: Option<Duration>) {
        self.fail(RenewalError::Transient {
            cause: Arc::new(std::io::Error::other("away")),
            retry_after,
            unanswered: false,
        });
    }

    /// Ends the renewal with a panic inside the flight.
    pub(super) fn crash(self) {
        drop(self.reply);
    }
}

impl World {
    /// A world in which somebody has just logged in.
    pub(super) fn new() -> Self {
        let (sender, calls) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            started: Instant::now(),
            clock_offset_ms: AtomicI64::new(0),
            stored: Mutex::default(),
            saves: AtomicUsize::new(0),
            clears: AtomicUsize::new(0),
            loads: AtomicUsize::new(0),
            save_failures: Mutex::default(),
            stamp: Mutex::default(),
            locked: Arc::default(),
            calls: sender,
            revoked: Mutex::default(),
            revocations_hang: AtomicBool::default(),
        });
        let world = Self { shared, calls };
        world.log_in();
        world
    }

    /// Logs in anew: another session, over whatever stood before.
    pub(super) fn log_in(&self) -> TokenSet {
        let before = self.stored().map(|tokens| tokens.generation);
        let nowhere = Url::parse("http://127.0.0.1:0/").unwrap();
        let tokens = TokenSet {
            session: SessionId::random().unwrap(),
            generation: before.map_or(Generation::FIRST, Generation::next),
            server: nowhere.clone(),
            refresh_endpoint: nowhere,
            revocation_endpoint: None,
            oauth: None,
            account: None,
            access_token: Secret::new("access"),
            refresh_token: Some(Secret::new("refresh")),
            attempt_key: AttemptKey::random().unwrap(),
            received_at: self.now(),
            refresh_received_at: self.now(),
            access_lifetime: Lifetime::of(LIFETIME),
            refresh_lifetime: Lifetime::UNKNOWN,
        };
        self.put(Some(tokens.clone()));
        *self.shared.stamp.lock().unwrap() = Some(Stamp::of(&tokens));
        tokens
    }

    /// A new process that uses the credential as it is stored now.
    pub(super) fn process(&self) -> RefreshGate {
        self.process_for(Work::Short)
    }

    pub(super) fn process_for(&self, work: Work) -> RefreshGate {
        let ports = Ports {
            store: Arc::clone(&self.shared) as _,
            rendezvous: Arc::clone(&self.shared) as _,
            renewal: Arc::clone(&self.shared) as _,
            clock: Arc::clone(&self.shared) as _,
        };
        let gate = RefreshGate::new(self.stored().expect("somebody is logged in"), ports, work);
        if work == Work::Long {
            gate.keep_ahead();
        }
        gate
    }

    /// Waits for the next renewal that a gate asks for.
    pub(super) async fn call(&mut self) -> Call {
        let call = tokio::time::timeout(Duration::from_secs(5), self.calls.recv()).await;
        call.expect("no renewal was asked for").expect("the world keeps a sender")
    }

    /// Returns what was revoked after its renewal was refused.
    pub(super) fn revoked(&self) -> Vec<TokenSet> {
        self.shared.revoked.lock().unwrap().clone()
    }

    /// Returns the renewal that a gate has asked for by now, if any.
    pub(super) async fn call_by_now(&mut self) -> Option<Call> {
        settle().await;
        self.calls.try_recv().ok()
    }

    /// Fails the test if a renewal was asked for that it did not expect.
    pub(super) async fn expect_no_call(&mut self) {
        settle().await;
        assert!(self.calls.try_recv().is_err(), "a renewal nobody expected");
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn stored(&self) -> Option<TokenSet> {
        self.shared.stored.lock().unwrap().clone()
    }

    pub(super) fn put(&self, tokens: Option<TokenSet>) {
        *self.shared.stored.lock().unwrap() = tokens;
    }

    pub(super) fn stamp(&self) -> Option<Stamp> {
        self.shared.stamp.lock().unwrap().clone()
    }

    pub(super) fn set_stamp(&self, stamp: Stamp) {
        *self.shared.stamp.lock().unwrap() = Some(stamp);
    }

    /// Returns how many gates hold on to this world.
    pub(super) fn gates_alive(&self) -> usize {
        // A gate has four ports, all of them this.
        (Arc::strong_count(&self.shared) - 1) / 4
    }

    pub(super) fn fail_saves(&self, times: usize) {
        let error = StoreError::Stopped;
        self.shared.save_failures.lock().unwrap().extend(std::iter::repeat_n(error, times));
    }

    pub(super) fn now(&self) -> Timestamp {
        self.shared.now()
    }

    /// Sets the clock forward or back without time passing.
    pub(super) fn set_clock_by(&self, milliseconds: i64) {
        self.shared.clock_offset_ms.fetch_add(milliseconds, Ordering::Relaxed);
    }

    /// Takes the lock as another process would; it is released when the guard is dropped.
    pub(super) fn hold_lock(&self) -> Held {
        self.shared.take_lock().expect("the lock is free")
    }

    pub(super) fn is_locked(&self) -> bool {
        self.shared.locked.load(Ordering::Acquire)
    }
}

/// Lets every task run until all of them wait.
pub(super) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Lets time pass until the token of [`LIFETIME`] is stale, but not yet dead.
pub(super) async fn until_stale() {
    tokio::time::advance(LIFETIME.mul_f64(0.95)).await;
}

/// Starts `future` and lets it run as far as it can.
pub(super) async fn started<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    let handle = tokio::spawn(future);
    settle().await;
    handle
}

/// Asks `gate` for a live token, and lets it go as far as it can.
pub(super) async fn wanting(gate: &RefreshGate) -> tokio::task::JoinHandle<Outcome> {
    let gate = gate.clone();
    started(async move { gate.current().await }).await
}

/// Tells `gate` that a server refused `generation`, and lets it go as far as it can.
pub(super) async fn refused(gate: &RefreshGate, generation: Generation) -> tokio::task::JoinHandle<Outcome> {
    let gate = gate.clone();
    started(async move { gate.refresh_after(generation).await }).await
}

impl Shared {
    fn take_lock(&self) -> Option<Held> {
        let free = self.locked.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok();
        free.then(|| Held::new(Unlock(Arc::clone(&self.locked))))
    }
}

struct Unlock(Arc<AtomicBool>);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Clock for Shared {
    fn now(&self) -> Timestamp {
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let passed = SignedDuration::try_from(self.started.elapsed()).unwrap();
        start + passed + SignedDuration::from_millis(self.clock_offset_ms.load(Ordering::Relaxed))
    }
}

impl TokenStore for Shared {
    fn load(&self) -> BoxFuture<'_, Result<Option<TokenSet>, StoreError>> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        async { Ok(self.stored.lock().unwrap().clone()) }.boxed()
    }

    fn prove_writable<'a>(&'a self, _held: &'a Held) -> BoxFuture<'a, Result<(), StoreError>> {
        async { Ok(()) }.boxed()
    }

    fn save<'a>(&'a self, _held: &'a Held, tokens: &'a TokenSet) -> BoxFuture<'a, Result<(), StoreError>> {
        async {
            if let Some(error) = self.save_failures.lock().unwrap().pop_front() {
                return Err(error);
            }
            self.saves.fetch_add(1, Ordering::Relaxed);
            *self.stored.lock().unwrap() = Some(tokens.clone());
            Ok(())
        }
        .boxed()
    }

    fn clear<'a>(&'a self, _held: &'a Held) -> BoxFuture<'a, Result<(), StoreError>> {
        async {
            self.clears.fetch_add(1, Ordering::Relaxed);
            *self.stored.lock().unwrap() = None;
            Ok(())
        }
        .boxed()
    }
}

impl Rendezvous for Shared {
    fn try_lock(&self) -> BoxFuture<'_, Result<Option<Held>, TokenError>> {
        async { Ok(self.take_lock()) }.boxed()
    }

    fn holder(&self) -> BoxFuture<'_, LockHolder> {
        async { LockHolder { path: "the lock".into(), pid: Some(7) } }.boxed()
    }

    fn stamp(&self) -> BoxFuture<'_, Option<Stamp>> {
        async { self.stamp.lock().unwrap().clone() }.boxed()
    }

    fn set_stamp<'a>(&'a self, _held: &'a Held, stamp: &'a Stamp) -> BoxFuture<'a, Result<(), StoreError>> {
        async {
            *self.stamp.lock().unwrap() = Some(stamp.clone());
            Ok(())
        }
        .boxed()
    }
}

impl Renewal for Shared {
    fn renew<'a>(
        &'a self,
        tokens: &'a TokenSet,
        _way_out: &'a WayOut,
    ) -> BoxFuture<'a, Result<IssuedTokens, RenewalError>> {
        async {
            let (reply, answer) = oneshot::channel();
            let call = Call { tokens: tokens.clone(), reply };
            self.calls.send(call).unwrap_or_else(|_| panic!("a renewal after the test's end"));
            answer.await.expect("the test crashed this renewal")
        }
        .boxed()
    }

    fn revoke_refused<'a>(&'a self, tokens: &'a TokenSet) -> BoxFuture<'a, Result<(), Cause>> {
        async {
            self.revoked.lock().unwrap().push(tokens.clone());
            if self.revocations_hang.load(Ordering::Relaxed) {
                pending::<()>().await;
            }
            Ok(())
        }
        .boxed()
    }
}
