//! What a thread of the model does with the core, and what is checked at each step.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use loom::sync::atomic::AtomicBool;
use loom::thread::{JoinHandle, spawn};
use url::Url;

use crate::error::TokenError;
use crate::expiry::Lifetime;
use crate::gate::core::{Arrival, Core, Landing, Outcome, Step, Takeoff};
use crate::gate::decide::Want;
use crate::token::{AttemptKey, Generation, Secret, SessionId, TokenSet};

/// How often a thread may be interrupted where it need not be. Nearly all faults of concurrency need two (the authors
/// of Loom advise two or three).
const PREEMPTIONS: usize = 3;

const LIFETIME: Duration = Duration::from_secs(100);

/// Drawn once: the model must do the same in every run.
static FIRST: LazyLock<TokenSet> = LazyLock::new(|| login(Generation::FIRST));

/// Tokens of the modelled session that arrive at `received_at`.
pub(crate) fn tokens(generation: u64, received_at: Timestamp) -> TokenSet {
    let generation = (1..generation).fold(Generation::FIRST, |generation, _| generation.next());
    TokenSet { generation, received_at, ..FIRST.clone() }
}

/// Tokens of another session.
pub(crate) fn login(generation: Generation) -> TokenSet {
    let nowhere = Url::parse("http://127.0.0.1:0/").unwrap();
    TokenSet {
        session: SessionId::random().unwrap(),
        generation,
        server: nowhere.clone(),
        refresh_endpoint: nowhere,
        revocation_endpoint: None,
        oauth: None,
        account: None,
        access_token: Secret::new("access"),
        refresh_token: Some(Secret::new("refresh")),
        attempt_key: AttemptKey::random().unwrap(),
        received_at: fresh(),
        refresh_received_at: fresh(),
        access_lifetime: Lifetime::of(LIFETIME),
        refresh_lifetime: Lifetime::UNKNOWN,
    }
}

/// A time at which generation 1 is fresh.
pub(crate) fn fresh() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// A time at which generation 1 is stale.
pub(crate) fn stale() -> Timestamp {
    fresh() + LIFETIME
}

pub(crate) fn is_generation(outcome: &Outcome, number: u64) -> bool {
    outcome.as_ref().is_ok_and(|tokens| tokens.generation.number() == number)
}

/// What all threads of one run share.
pub(crate) struct Model {
    pub(crate) core: Arc<Core>,
    /// Loom's, so that it also tries the orders in which only departures and arrivals change places. The rest of the
    /// book-keeping is std's: it adds no orders.
    in_the_air: AtomicBool,
    closed: AtomicBool,
    flights: AtomicUsize,
    renewed: Mutex<BTreeSet<Generation>>,
}

impl Model {
    /// Tries `scenario` in every order, each time with a new core that holds generation 1.
    pub(crate) fn check(name: &'static str, scenario: impl Fn(&Arc<Self>) + Send + Sync + 'static) {
        LazyLock::force(&FIRST);
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let mut model = loom::model::Builder::new();
        model.preemption_bound = model.preemption_bound.or(Some(PREEMPTIONS));
        model.check(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            let model = Arc::new(Self {
                core: Arc::new(Core::new(FIRST.clone())),
                in_the_air: AtomicBool::new(false),
                closed: AtomicBool::new(false),
                flights: AtomicUsize::new(0),
                renewed: Mutex::default(),
            });
            scenario(&model);
            assert!(model.core.close().is_none() && !model.in_the_air.load(Ordering::Relaxed), "all have landed");
        });
        println!("{name}: {} orders", runs.load(Ordering::Relaxed));
    }

    pub(crate) fn thread<T: 'static>(self: &Arc<Self>, work: impl FnOnce(&Self) -> T + 'static) -> JoinHandle<T> {
        let model = Arc::clone(self);
        spawn(move || work(&model))
    }

    /// Asks as the gate does, and flies with `flight` if it falls to this thread.
    pub(crate) fn obtain(&self, want: Want, now: Timestamp, flight: impl FnOnce(&TokenSet) -> Arrival) -> Outcome {
        let outcome = match self.core.ask(want, now) {
            Step::Use(tokens) => Ok(tokens),
            Step::Fail(error) => Err(error),
            Step::Wait(landing) => outcome(landing),
            Step::Fly(takeoff) => self.fly(takeoff, flight),
        };
        if let Ok(tokens) = &outcome {
            self.saw(tokens);
            if let Want::AfterRefusal(old) | Want::Newer(old) = want {
                assert!(tokens.generation > old, "got generation {old} back, which was refused");
            }
        }
        outcome
    }

    /// Asks for what must not cost a flight.
    pub(crate) fn obtain_without_flight(&self, want: Want, now: Timestamp) -> Outcome {
        self.obtain(want, now, |replaced| panic!("a needless flight for {want:?} from {}", replaced.generation))
    }

    /// Takes off for sure: the first step of scenarios that are about what happens meanwhile.
    pub(crate) fn take_off(&self, want: Want, now: Timestamp) -> Takeoff {
        let Step::Fly(takeoff) = self.core.ask(want, now) else { panic!("the first to ask flies") };
        self.departs(&takeoff);
        takeoff
    }

    fn fly(&self, takeoff: Takeoff, flight: impl FnOnce(&TokenSet) -> Arrival) -> Outcome {
        self.departs(&takeoff);
        let landing = takeoff.landing();
        let arrival = flight(takeoff.replaces());
        self.land(takeoff, arrival);
        outcome(landing)
    }

    fn departs(&self, takeoff: &Takeoff) {
        assert!(!self.closed.load(Ordering::Relaxed), "a flight that nobody waits for any more");
        assert!(!self.in_the_air.swap(true, Ordering::Relaxed), "two flights in the air");
        assert!(self.core.current().is_same_save(takeoff.replaces()), "the flight does not replace what is current");
        self.flights.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn land(&self, takeoff: Takeoff, arrival: Arrival) {
        if arrival.outcome.as_ref().is_ok_and(|tokens| tokens.is_newer_than(takeoff.replaces())) {
            let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
            assert!(renewed.insert(takeoff.replaces().generation), "a generation was renewed twice");
        }
        // Before it lands: from then on the next one may fly.
        self.in_the_air.store(false, Ordering::Relaxed);
        takeoff.land(arrival);
    }

    /// Waits as the way out does, until nothing is in the air.
    pub(crate) fn close(&self) {
        while let Some(landing) = self.core.close() {
            // What it came to is for those who asked.
            drop(outcome(landing));
        }
        self.closed.store(true, Ordering::Relaxed);
    }

    /// The flight vanishes, as it does in a panic.
    pub(crate) fn crash(&self, takeoff: Takeoff) {
        self.in_the_air.store(false, Ordering::Relaxed);
        drop(takeoff);
    }

    /// Whoever holds `tokens` finds nothing older in the snapshot.
    pub(crate) fn saw(&self, tokens: &TokenSet) {
        let current = self.core.current();
        assert!(
            current.session != tokens.session || current.generation >= tokens.generation,
            "the snapshot shows generation {} after {} was handed out",
            current.generation,
            tokens.generation,
        );
    }

    pub(crate) fn flights(&self) -> usize {
        self.flights.load(Ordering::Relaxed)
    }
}

/// Waits as the gate does; the model's wait blocks inside its only poll.
pub(crate) fn outcome(landing: Landing) -> Outcome {
    landing.outcome().now_or_never().expect("the model's wait blocks")
}

/// A flight that renews: the next generation, received at `now`.
pub(crate) fn renews(now: Timestamp) -> impl FnOnce(&TokenSet) -> Arrival {
    move |replaced| arrival(Ok(tokens(replaced.generation.number() + 1, now)))
}

pub(crate) fn fails(error: TokenError) -> impl FnOnce(&TokenSet) -> Arrival {
    move |_| arrival(Err(error))
}

pub(crate) fn arrival(outcome: Result<TokenSet, TokenError>) -> Arrival {
    Arrival { outcome: outcome.map(Arc::new).map_err(Arc::new), remember: None, refused_at: None }
}
