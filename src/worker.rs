//! A thread for calls that may block for ever: keyrings that wait for a prompt, disks and locks on a network.
//!
//! - Whoever waits gives up after a bound. A job that has begun goes on without them; one that has not begun is dropped,
//!   so that nothing happens after somebody was told that it failed.
//! - While a job that was given up on still runs, everybody else is turned away at once: many calls in a row cost one
//!   bound, not many. Once it is over, the thread works as before.
//! - A job that panics ends the thread, and every call after it says so.
//!
//! The thread is detached on purpose. A runtime joins its own blocking threads when it ends, so one hung call there
//! would hang the program's exit; a detached thread is left behind with its call.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::error::StoreError;
use crate::gate::Held;

type Job = Box<dyn FnOnce() + Send>;

/// One thread that does jobs in the order in which they come: some backends do not order calls from different threads.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    jobs: Sender<Job>,
    progress: Arc<Progress>,
}

/// Why a job has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerFault {
    /// A job, this one or one before it, did not end within so long.
    Late(Duration),
    /// The thread is gone: a job panicked, or the thread could not be started.
    Gone,
}

impl WorkerFault {
    /// Returns what a store says when its job with a file has no result.
    pub(crate) fn of_file(self, action: &'static str, path: &Path) -> StoreError {
        match self {
            Self::Late(_) => StoreError::File { action, path: path.into(), cause: Arc::new(self.into_io_error()) },
            Self::Gone => StoreError::Stopped,
        }
    }

    pub(crate) fn into_io_error(self) -> io::Error {
        match self {
            Self::Late(waited) => {
                let text = format!("the file system did not answer within {} s", waited.as_secs());
                io::Error::new(io::ErrorKind::TimedOut, text)
            }
            Self::Gone => io::Error::other("the thread for files is gone; this is a fault in authcli"),
        }
    }
}

#[derive(Debug, Default)]
struct Progress {
    /// Numbers the jobs.
    next: AtomicU64,
    /// Held for a few instructions; never while a job runs.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: Option<u64>,
    /// The last job that somebody gave up on, and how long they had waited.
    given_up: Option<(u64, Duration)>,
}

impl Worker {
    /// Starts a thread called `name`; it ends with the last clone of this handle.
    pub(crate) fn start(name: &str) -> Self {
        let (jobs, queue) = channel::<Job>();
        // A thread that could not be started drops the queue, and every call then says `Gone`.
        let _ = thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Ok(job) = queue.recv() {
                job();
            }
        });
        Self { jobs, progress: Arc::default() }
    }

    /// Returns this process's thread for files: what hangs one file call on a network file system hangs all of them.
    pub(crate) fn for_files() -> Self {
        static FILES: LazyLock<Worker> = LazyLock::new(|| Worker::start("authcli-files"));
        FILES.clone()
    }

    /// Returns this process's thread for the keyring.
    pub(crate) fn for_keyring() -> Self {
        static KEYRING: LazyLock<Worker> = LazyLock::new(|| Worker::start("authcli-keyring"));
        KEYRING.clone()
    }

    /// The same for a job that changes something: it keeps `held` until it is over, also if nobody waits for it any more.
    pub(crate) async fn run_holding<T: Send + 'static>(
        &self,
        bound: Duration,
        held: &Held,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkerFault> {
        let held = held.clone();
        let holding = move || {
            let result = job();
            drop(held);
            result
        };
        self.run(bound, holding).await
    }

    /// Runs `job` on the thread and waits at most `bound` for its result. Giving up on a job that has begun, or dropping
    /// this future, does not stop it.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        bound: Duration,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkerFault> {
        if let Some(waited) = self.progress.state().stuck_for() {
            return Err(WorkerFault::Late(waited));
        }
        let (result, received) = oneshot::channel();
        let number = self.progress.next.fetch_add(1, Ordering::Relaxed);
        let progress = Arc::clone(&self.progress);
        let job = Box::new(move || {
            let _running = progress.begin(number);
            if !result.is_closed() {
                // A caller that has gone away meanwhile needs no result.
                drop(result.send(job()));
            }
        });
        self.jobs.send(job).map_err(|_| WorkerFault::Gone)?;
        let result = timeout(bound, received).await;
        // The receiver is gone by now, so a job that has not begun never will.
        let Ok(result) = result else {
            let mut state = self.progress.state();
            if state.running == Some(number) {
                state.given_up = Some((number, bound));
            }
            return Err(WorkerFault::Late(bound));
        };
        result.map_err(|_| WorkerFault::Gone)
    }
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        // Two plain fields, each set at once: a panic cannot have torn them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that job `number` runs, until the value is dropped: at its end, or while it panics.
    fn begin(self: Arc<Self>, number: u64) -> Running {
        self.state().running = Some(number);
        Running(self)
    }
}

impl State {
    /// Returns how long somebody has waited in vain for the job that is running.
    fn stuck_for(&self) -> Option<Duration> {
        self.given_up.filter(|(number, _)| self.running == Some(*number)).map(|(_, waited)| waited)
    }
}

struct Running(Arc<Progress>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.state().running = None;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::time::Instant;

    use super::*;

    pub(crate) const SHORT: Duration = Duration::from_millis(30);
    /// Never reached on a machine that works.
    const LONG: Duration = Duration::from_secs(30);

    /// Keeps a job from ending.
    pub(crate) struct Hold {
        begun: Arc<AtomicBool>,
        released: Receiver<()>,
    }

    /// Lets the job end when it is dropped.
    pub(crate) struct Release {
        begun: Arc<AtomicBool>,
        _sender: SyncSender<()>,
    }

    pub(crate) fn hold() -> (Hold, Release) {
        let (sender, released) = sync_channel(0);
        let begun = Arc::<AtomicBool>::default();
        (Hold { begun: Arc::clone(&begun), released }, Release { begun, _sender: sender })
    }

    impl Hold {
        pub(crate) fn wait(self) {
            self.begun.store(true, Ordering::SeqCst);
            // Nothing is ever sent.
            let _ = self.released.recv();
        }
    }

    impl Release {
        /// Whoever gives up on a job after a moment must ask this: on a busy machine it may not have begun, and then it
        /// never will.
        pub(crate) fn has_begun(&self) -> bool {
            self.begun.load(Ordering::SeqCst)
        }
    }

    /// Occupies the worker until the returned value is dropped; somebody has given up on the job by then.
    pub(crate) async fn occupied(worker: &Worker) -> Release {
        loop {
            let (pause, release) = hold();
            assert_eq!(worker.run(SHORT, move || pause.wait()).await, Err(WorkerFault::Late(SHORT)));
            if release.has_begun() {
                return release;
            }
        }
    }

    #[tokio::test]
    async fn a_stuck_job_costs_one_bound_however_many_call() {
        let worker = Worker::start("test");
        let release = occupied(&worker).await;
        let start = Instant::now();
        for _ in 0..100 {
            assert_eq!(worker.run(LONG, || ()).await, Err(WorkerFault::Late(SHORT)));
        }
        assert!(start.elapsed() < LONG / 2, "each was turned away at once");
        drop(release);
    }

    #[tokio::test]
    async fn once_the_stuck_job_is_over_the_worker_works_again() {
        let worker = Worker::start("test");
        let release = occupied(&worker).await;
        drop(release);
        let start = Instant::now();
        while worker.run(LONG, || 7).await != Ok(7) {
            assert!(start.elapsed() < LONG, "the thread stays unusable");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_job_that_was_given_up_on_before_it_began_never_begins() {
        let worker = Worker::start("test");
        let (pause, release) = hold();
        let begun = Arc::new(AtomicBool::new(false));
        let first = worker.run(LONG, move || pause.wait());
        let second = {
            let begun = Arc::clone(&begun);
            worker.run(SHORT, move || begun.store(true, Ordering::SeqCst))
        };
        let (first, ()) = tokio::join!(first, async {
            assert_eq!(second.await, Err(WorkerFault::Late(SHORT)));
            drop(release);
        });
        assert_eq!(first, Ok(()), "giving up on one that waits says nothing of the one that runs");
        assert_eq!(worker.run(LONG, || ()).await, Ok(()));
        assert!(!begun.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_job_that_panics_is_told_and_so_is_every_call_after_it() {
        let worker = Worker::start("test");
        let result = worker.run(LONG, || panic!("a fault in a job, made for this test")).await;
        assert_eq!(result, Err::<(), _>(WorkerFault::Gone));
        assert_eq!(worker.run(LONG, || ()).await, Err(WorkerFault::Gone));
    }

    #[tokio::test]
    async fn a_job_that_panics_after_it_was_given_up_on_is_told_as_a_panic() {
        let worker = Worker::start("test");
        loop {
            let (pause, release) = hold();
            let stuck = worker.run(SHORT, move || {
                pause.wait();
                panic!("a fault in a job, made for this test");
            });
            assert_eq!(stuck.await, Err::<(), _>(WorkerFault::Late(SHORT)));
            if release.has_begun() {
                break;
            }
        }
        let start = Instant::now();
        while worker.run(LONG, || ()).await != Err(WorkerFault::Gone) {
            assert!(start.elapsed() < LONG);
            tokio::task::yield_now().await;
        }
    }
}
