//! What the refresh gate costs by itself: the path of every request that finds a fresh token, and the way out of a
//! flight for everybody who waited for it.
//!
//! The loops are its own: a figure here stands beside that of the plainest thing that could do the job, measured in
//! turns with it, and harnesses measure one after the other. That the fast path allocates nothing is a test
//! (`tests/allocations.rs`), because counting would slow down what is measured here.

#![expect(clippy::expect_used, reason = "a broken expectation ends the measurement")]
#![expect(clippy::print_stdout, reason = "the figures are what this is for")]

mod support {
    pub(crate) mod figures;
    pub(crate) mod memory;
}

use std::future::{Future, poll_fn};
use std::hint::{black_box, spin_loop};
use std::num::NonZero;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use authcli::clock::SystemClock;
use authcli::gate::{Clock, Work};
use futures_util::FutureExt as _;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout;

use self::support::figures::{Comparison, Relation};
use self::support::memory::{Memory, just_now, long_ago, tokens};

/// A batch lasts some ten microseconds: long enough for the timer's own cost to be lost in it, and so short that most
/// batches run through without the system taking the processor away.
const CALLS: u32 = 500;
/// The figure of a round is the median of so many batches, so those that did not run through do not count.
const BATCHES: usize = 51;
/// How often a round is begun anew in which no two threads ran side by side: the machine had something else to do.
const TRIES: usize = 3;
const FAST_PATH_ROUNDS: usize = 30;
const FAST_PATH_TARGET_NS: f64 = 100.0;

const WAITERS: usize = 10_000;
const WORKERS: usize = 2;
const RELEASE_ROUNDS: usize = 20;
const RELEASE_TARGET_MS: f64 = 50.0;
/// For one round; beyond it somebody waits for ever.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    for (threads, name) in [(1, "one thread"), (2, "two threads at once")] {
        if threads > processors {
            println!("fast path, {name}: left out, for there are fewer processors\n");
            continue;
        }
        fast_path(threads, Work::Short, format!("fast path, short work, {name}"));
        fast_path(threads, Work::Long, format!("fast path, long work, {name}"));
    }
    release();
}

/// `current()` on a fresh token, beside a lock around the same tokens and a look at the same clock.
fn fast_path(threads: usize, work: Work, name: String) {
    let gate = Arc::new(Memory::default()).gate(just_now(), work);
    let locked = RwLock::new(Arc::new(tokens(just_now())));
    let unlocked = Arc::new(tokens(just_now()));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);

    let current = || {
        let polled_once = black_box(&gate).current().now_or_never();
        polled_once.expect("it is ready at once").expect("the token is fresh")
    };
    let plain = || {
        let tokens = Arc::clone(&black_box(&locked).read().unwrap_or_else(PoisonError::into_inner));
        (tokens, black_box(&clock).now())
    };
    // Nothing that hands out an `Arc` and looks at a clock can take less.
    let floor = || (Arc::clone(black_box(&unlocked)), black_box(&clock).now());
    let comparison = Comparison::measure(
        name,
        "ns",
        FAST_PATH_ROUNDS,
        [
            ("current()", &mut || nanoseconds_each(threads, current)),
            ("RwLock<Arc> and clock", &mut || nanoseconds_each(threads, plain)),
            ("Arc and clock", &mut || nanoseconds_each(threads, floor)),
        ],
    );
    comparison.print(Relation::Ratio, Some(FAST_PATH_TARGET_NS));
}

/// Returns what a call takes when so many threads make it at once; no number if the machine never ran them at once.
fn nanoseconds_each<T>(threads: usize, call: impl Fn() -> T + Sync) -> f64 {
    for _ in 0..TRIES {
        let mut figures = batches_at_once(threads, &call);
        figures.sort_by(f64::total_cmp);
        if let Some(median) = figures.get(figures.len() / 2) {
            return *median;
        }
    }
    f64::NAN
}

/// Returns the nanoseconds a call took in each of the batches that the threads ran side by side.
fn batches_at_once<T>(threads: usize, call: &(impl Fn() -> T + Sync)) -> Vec<f64> {
    let at_the_line = AtomicUsize::new(0);
    let batch = |number: usize| {
        // A blocking barrier would wake one thread when the other is half through.
        at_the_line.fetch_add(1, Ordering::AcqRel);
        while at_the_line.load(Ordering::Acquire) < threads * number {
            spin_loop();
        }
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(call());
        }
        (start, Instant::now())
    };
    let by_thread: Vec<Vec<(Instant, Instant)>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| (1..=BATCHES).map(batch).collect())).collect();
        threads.into_iter().map(|thread| thread.join().expect("no call panics")).collect()
    });
    (0..BATCHES).filter_map(|number| side_by_side(by_thread.iter().map(|batches| batches[number]))).collect()
}

/// Returns the nanoseconds a call took in batches of several threads, if for nine tenths of the time all of them ran.
fn side_by_side(batches: impl Iterator<Item = (Instant, Instant)>) -> Option<f64> {
    let (starts, ends): (Vec<_>, Vec<_>) = batches.unzip();
    let in_all = *ends.iter().max()? - *starts.iter().min()?;
    let together = ends.iter().min()?.saturating_duration_since(*starts.iter().max()?);
    (together * 10 >= in_all * 9).then(|| in_all.as_secs_f64() * 1e9 / f64::from(CALLS))
}

/// From the end of a flight's save to the last of those who waited for it, beside bare tokio channels.
fn release() {
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_time().build().expect("a runtime");
    let comparison = Comparison::measure(
        format!("release of {WAITERS} waiters, from the save"),
        "ms",
        RELEASE_ROUNDS,
        [
            ("gate", &mut || release_by_gate(&runtime)),
            ("tokio watch", &mut || release_by_watch(&runtime)),
            ("tokio Notify", &mut || release_by_notify(&runtime)),
        ],
    );
    comparison.print(Relation::Ratio, Some(RELEASE_TARGET_MS));
}

fn release_by_gate(runtime: &Runtime) -> f64 {
    let memory = Arc::new(Memory::default());
    let gate = memory.gate(long_ago(), Work::Short);
    let before = gate.snapshot().generation;
    let waiter = || {
        let gate = gate.clone();
        async move {
            let tokens = gate.current().await.expect("the renewal succeeds");
            assert_eq!(tokens.generation, before.next());
        }
    };
    let last = runtime.block_on(last_out(waiter, || memory.answer.notify_one()));
    assert_eq!(memory.renewals(), 1, "one flight is one renewal");
    milliseconds_between(memory.saved_at().expect("the flight saved"), last)
}

/// What a flight's waiters sleep on, without the gate.
fn release_by_watch(runtime: &Runtime) -> f64 {
    let (sender, receiver) = watch::channel(None);
    let waiter = || {
        let mut receiver = receiver.clone();
        async move {
            let value = receiver.wait_for(Option::is_some).await.expect("the sender lives").clone();
            black_box(value);
        }
    };
    let sent_at = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&sent_at);
    let value = Arc::new(tokens(just_now()));
    let release = || {
        // From a worker, as a flight does.
        runtime.spawn(async move {
            *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            sender.send_replace(Some(value));
        });
    };
    let last = runtime.block_on(last_out(waiter, release));
    let sent_at = sent_at.lock().unwrap_or_else(PoisonError::into_inner).expect("it was sent");
    milliseconds_between(sent_at, last)
}

/// The least that wakes a crowd.
fn release_by_notify(runtime: &Runtime) -> f64 {
    let notify = Arc::new(Notify::new());
    let waiter = || {
        let notify = Arc::clone(&notify);
        async move { notify.notified().await }
    };
    let sent_at = Arc::new(Mutex::new(None));
    let (noted, notify) = (Arc::clone(&sent_at), Arc::clone(&notify));
    let release = || {
        runtime.spawn(async move {
            *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            notify.notify_waiters();
        });
    };
    let last = runtime.block_on(last_out(waiter, release));
    let sent_at = sent_at.lock().unwrap_or_else(PoisonError::into_inner).expect("it was sent");
    milliseconds_between(sent_at, last)
}

/// Lets a crowd wait, each in a task of its own, calls `release` when all of them sleep, and returns when the last one
/// went on.
async fn last_out<W: Future<Output = ()> + Send + 'static>(waiter: impl Fn() -> W, release: impl FnOnce()) -> Instant {
    let crowd = Arc::new(Crowd::default());
    let (sender, last) = oneshot::channel();
    let sender = Arc::new(Mutex::new(Some(sender)));
    for _ in 0..WAITERS {
        let (crowd, sender, waiter) = (Arc::clone(&crowd), Arc::clone(&sender), waiter());
        tokio::spawn(async move {
            let mut waiter = pin!(waiter);
            let first_poll = poll_fn(|context| Poll::Ready(waiter.as_mut().poll(context))).await;
            assert!(first_poll.is_pending(), "nobody is released yet");
            if crowd.asleep.fetch_add(1, Ordering::AcqRel) + 1 == WAITERS {
                crowd.all_asleep.notify_one();
            }
            waiter.await;
            if crowd.out.fetch_add(1, Ordering::AcqRel) + 1 == WAITERS {
                let now = Instant::now();
                let sender = sender.lock().unwrap_or_else(PoisonError::into_inner).take();
                sender.expect("only the last one sends").send(now).expect("the bench waits for it");
            }
        });
    }
    timeout(PATIENCE, crowd.all_asleep.notified()).await.expect("all come to wait");
    release();
    timeout(PATIENCE, last).await.expect("all are released").expect("the last one says so")
}

#[derive(Default)]
struct Crowd {
    asleep: AtomicUsize,
    all_asleep: Notify,
    out: AtomicUsize,
}

fn milliseconds_between(start: Instant, end: Instant) -> f64 {
    end.duration_since(start).as_secs_f64() * 1000.0
}
