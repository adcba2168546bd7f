//! The refresh gate: one refresh for all who need one, in this process and in all others.
//!
//! # What it guarantees
//!
//! 1. **One refresh a generation.** However many tasks and processes find the tokens stale or refused, one of them
//!    sends one refresh; all get its result.
//! 2. **No straggler refreshes.** A refusal of a token that has been replaced meanwhile is answered with the current
//!    one, however late it arrives. No window of time is involved: generations are compared.
//! 3. **Nobody cancels a refresh.** It runs in a task of its own; dropping any waiter, even the first, changes nothing.
//! 4. **Nothing newer is lost.** Every save, adoption and clearing compares session and generation under the process
//!    lock, after the store was read again. Without the lock nothing is refreshed.
//! 5. **Failures are shared.** All who waited get the same error, and who comes within the next second (or the server's
//!    `Retry-After`) gets it too, without a call.
//!
//! # What it does not do
//!
//! It knows no HTTP, no keyring, no files: those come as [ports](Ports). It does not judge answers; whoever sent the
//! request says that it was refused.

mod ahead;
mod core;
mod decide;
mod flight;
mod flown;
mod ports;
mod setback;
mod stamp;
mod sync;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep};
use tracing::debug;

use self::core::{Core, Landing, Outcome, Step, Takeoff};
use self::decide::Want;
use self::flight::fly;
pub use self::flown::Flight;
use self::flown::{Flights, Source, Unsaved};
pub use self::ports::{
    Clock, Held, LOCK_BOUND, LockHolder, RENEWAL_BOUND, REVOCATION_BOUND, Rendezvous, Renewal, RenewalError,
    TokenStore, WayOut,
};
pub use self::stamp::{Ended, Ending, Failure, Renewing, Stamp};
use crate::error::TokenError;
use crate::expiry;
use crate::token::{Generation, TokenSet};

/// How long after a failed save the next one is tried.
const SAVE_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How many flights somebody waits for who gets nothing new from them. One is enough but for a clock that is set back
/// again and again.
const FLIGHTS_JOINED: u32 = 3;

/// What a gate works with.
pub struct Ports {
    /// Where the credential is kept.
    pub store: Arc<dyn TokenStore>,
    /// Where processes that share it meet.
    pub rendezvous: Arc<dyn Rendezvous>,
    /// How it is renewed.
    pub renewal: Arc<dyn Renewal>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// Whether a program works for a moment or for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A call or two: tokens are renewed when they are at their end.
    Short,
    /// Many calls over a while: tokens are used nearly to their end, because a task renews them in the background before
    /// that ([`RefreshGate::keep_ahead`]).
    Long,
}

/// The shared gate of one session. Cloning is cheap; all clones are the same gate.
#[derive(Clone)]
pub struct RefreshGate {
    shared: Arc<Shared>,
    /// Where the flights of this clone are at home, if not where they are asked for.
    home: Option<Handle>,
}

struct Shared {
    core: Arc<Core>,
    ports: Ports,
    work: Work,
    /// What a flight could not save, with the process lock. An async mutex: it is held across the retried save, so that
    /// nobody takes off from a state that is about to change.
    parked: Mutex<Option<Unsaved>>,
    /// Set on the way out: a flight that has sent nothing yet gives up, and one that has makes no further try.
    closing: watch::Sender<bool>,
    way_out: WayOut,
    /// Whether a task is at work that tries again to save.
    saving: AtomicBool,
    refreshes: AtomicU64,
    adoptions: AtomicU64,
    flights: Flights,
}

/// How often the gate renewed, or did not have to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateCounts {
    /// Refreshes that this process sent and that succeeded.
    pub refreshes: u64,
    /// Newer tokens that were taken over from another process.
    pub adopted: u64,
}

impl RefreshGate {
    /// A gate for the session of `tokens`, which were just loaded. Must be used within a tokio runtime.
    pub fn new(tokens: TokenSet, ports: Ports, work: Work) -> Self {
        let (closing, way_out) = WayOut::new();
        let shared = Shared {
            core: Arc::new(Core::new(tokens)),
            ports,
            work,
            parked: Mutex::const_new(None),
            closing,
            way_out,
            saving: AtomicBool::new(false),
            refreshes: AtomicU64::new(0),
            adoptions: AtomicU64::new(0),
            flights: Flights::default(),
        };
        Self { shared: Arc::new(shared), home: None }
    }

    /// The same gate for callers in another runtime than `home`, which may end before that one: flights that they ask for
    /// fly in `home`, so the end of their runtime cuts none off between the server's answer and the save.
    #[must_use]
    pub fn flying_in(&self, home: Handle) -> Self {
        Self { shared: Arc::clone(&self.shared), home: Some(home) }
    }

    /// Renews the tokens in the background from now on, in the last quarter of their life and for as long as the gate is
    /// there, so that no call waits. Must be called within a tokio runtime.
    pub fn keep_ahead(&self) {
        tokio::spawn(ahead::keep_ahead(Arc::downgrade(&self.shared)));
    }

    /// Returns tokens that the clock does not call stale, renewing them first if it must.
    ///
    /// While the old token is still alive, an error that leaves the session standing is no error: the old token is
    /// returned.
    pub async fn current(&self) -> Result<Arc<TokenSet>, Arc<TokenError>> {
        let now = self.now();
        let current = self.shared.core.current();
        if self.is_usable(&current, now) {
            return Ok(Arc::clone(&current));
        }
        drop(current);
        self.obtain(Want::Live, now).await.or_else(|error| self.old_token_while_alive(error))
    }

    /// Returns tokens that are good for at least `least`, renewing once if they must be. What the server issues may be
    /// shorter-lived than asked: then that is returned.
    pub async fn valid_for(&self, least: Duration) -> Result<Arc<TokenSet>, Arc<TokenError>> {
        self.obtain(Want::ValidFor(least), self.now()).await
    }

    /// Returns tokens newer than those of generation `refused`, which a server refused (401 or 403).
    ///
    /// [`TokenError::RefusalStands`] means that the refusal is the final answer: the token was fresh, and a refresh for
    /// the same reason was made a moment ago.
    pub async fn refresh_after(&self, refused: Generation) -> Result<Arc<TokenSet>, Arc<TokenError>> {
        self.obtain(Want::AfterRefusal(refused), self.now()).await
    }

    /// Returns tokens newer than those of generation `old`, because somebody asked for new ones.
    pub async fn refresh_now(&self, old: Generation) -> Result<Arc<TokenSet>, Arc<TokenError>> {
        self.obtain(Want::Newer(old), self.now()).await
    }

    /// Returns the tokens as they stand, whatever the clock says of them.
    pub fn snapshot(&self) -> Arc<TokenSet> {
        Arc::clone(&self.shared.core.current())
    }

    /// Returns how often the gate renewed so far.
    pub fn counts(&self) -> GateCounts {
        GateCounts {
            refreshes: self.shared.refreshes.load(Ordering::Relaxed),
            adopted: self.shared.adoptions.load(Ordering::Relaxed),
        }
    }

    /// Returns the flights that brought newer tokens, the oldest first: the last 1024 of them.
    pub fn flights(&self) -> Vec<Flight> {
        self.shared.flights.all()
    }

    /// Waits until no flight is in the air and tries once more to save what could not be saved. Every way out of a
    /// program goes through here: a flight that is cut off could cost the session. Flights that have
    /// sent nothing yet give up, and none begins.
    pub async fn close(&self) -> Result<(), Arc<TokenError>> {
        self.shared.closing.send_replace(true);
        while let Some(landing) = self.shared.core.close() {
            // What it came to is for those who asked.
            drop(landing.outcome().await);
        }
        self.shared.save(&mut *self.shared.parked.lock().await).await
    }

    /// In long work a token is used nearly to its end, so that nobody waits while it is renewed in the background.
    fn is_usable(&self, current: &TokenSet, now: Timestamp) -> bool {
        if self.shared.work == Work::Short {
            return Want::Live.is_met_by(current, now);
        }
        let margin = current.access_lifetime.leeway().min(Duration::from_secs(1));
        expiry::remaining(current.received_at, current.access_lifetime, now).is_none_or(|left| left > margin)
    }

    fn now(&self) -> Timestamp {
        self.shared.ports.clock.now()
    }

    async fn obtain(&self, want: Want, now: Timestamp) -> Outcome {
        let mut now = now;
        for _ in 0..FLIGHTS_JOINED {
            let tokens = match self.shared.core.ask(want, now) {
                Step::Use(tokens) => return Ok(tokens),
                Step::Fail(error) => return Err(error),
                Step::Wait(landing) => landing.outcome().await?,
                Step::Fly(takeoff) => self.shared.take_off(takeoff, want, self.home.as_ref()).outcome().await?,
            };
            // Who set out for another reason may come back with the old tokens: the clock was set back under way, and they
            // are fresh again. Whoever was refused with them asks anew.
            if !want.rules_out(tokens.generation) {
                return Ok(tokens);
            }
            now = self.now();
        }
        Err(Arc::new(TokenError::RefusalStands))
    }

    fn old_token_while_alive(&self, error: Arc<TokenError>) -> Outcome {
        let current = self.snapshot();
        let left = expiry::remaining(current.received_at, current.access_lifetime, self.now());
        if error.leaves_session_usable() && left.is_some_and(|left| !left.is_zero()) {
            debug!(%error, "using the old token while it lives");
            return Ok(current);
        }
        Err(error)
    }
}

impl Shared {
    /// Spawns the flight, in `home` or where it is asked for: it belongs to nobody's request, so nobody's cancellation can
    /// end it between the server's answer and the save.
    fn take_off(self: &Arc<Self>, takeoff: Takeoff, want: Want, home: Option<&Handle>) -> Landing {
        let landing = takeoff.landing();
        let shared = Arc::clone(self);
        let flight = async move { shared.fly(takeoff, want).await };
        match home {
            Some(home) => home.spawn(flight),
            None => tokio::spawn(flight),
        };
        landing
    }

    async fn fly(self: &Arc<Self>, takeoff: Takeoff, want: Want) {
        let mut parked = self.parked.lock().await;
        let memory = Arc::clone(takeoff.replaces());
        let start = Instant::now();
        let mut flown = fly(&self.ports, &memory, want, parked.take(), &self.way_out).await;
        match flown.source {
            Some(Source::Renewed) => self.refreshes.fetch_add(1, Ordering::Relaxed),
            Some(Source::Adopted) => self.adoptions.fetch_add(1, Ordering::Relaxed),
            None => 0,
        };
        // Before it lands: whoever has its tokens finds it there.
        self.flights.note(&flown, start);
        if flown.arrival.outcome.as_ref().is_err_and(|error| error.leaves_session_usable()) {
            // What went wrong before the server was asked (a busy lock, a broken store) is not tried at every call either.
            let memory = stamp::failure_memory(None, self.ports.clock.now());
            flown.arrival.remember.get_or_insert(memory);
        }
        *parked = flown.unsaved;
        if parked.is_some() && !self.saving.swap(true, Ordering::Relaxed) {
            tokio::spawn(Arc::clone(self).keep_trying_to_save());
        }
        takeoff.land(flown.arrival);
    }

    /// Ends when nothing is unsaved any more. Until then no other process gets the lock, so the sooner the better.
    async fn keep_trying_to_save(self: Arc<Self>) {
        loop {
            sleep(SAVE_AGAIN_AFTER).await;
            let mut parked = self.parked.lock().await;
            if self.save(&mut parked).await.is_ok() {
                // Before `parked` is let go, so that the next flight that fails to save starts another such task.
                self.saving.store(false, Ordering::Relaxed);
                return;
            }
        }
    }

    async fn save(&self, parked: &mut Option<Unsaved>) -> Result<(), Arc<TokenError>> {
        let Some(unsaved) = parked.take() else {
            return Ok(());
        };
        match unsaved.save(&self.ports).await {
            Ok(_held) => Ok(()),
            Err(unsaved) => {
                let error = Arc::clone(&unsaved.error);
                *parked = Some(unsaved);
                Err(error)
            }
        }
    }
}
