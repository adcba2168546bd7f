//! Work on all cores, on each by itself.

use std::io;
use std::num::NonZero;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use futures_util::FutureExt as _;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// More cores than this are for the server, if it is on this machine; if it is not, the network is what is waited for.
const MOST: u64 = 8;

/// The files of a runtime: it waits for its sockets by two, and for signals and other threads by one each.
const FILES_OF_A_RUNTIME: u64 = 4;

/// Returns how many files are open beside the connections when so many requests are sent at a time.
pub fn files_beside_connections(concurrency: u64) -> u64 {
    // And the one that writes.
    (crews(concurrency) + 1) * FILES_OF_A_RUNTIME
}

/// Returns how many of `workers`, one at least, each core gets.
pub(super) fn shares(workers: u64) -> impl Iterator<Item = u64> {
    let (workers, crews) = (workers.max(1), crews(workers));
    (0..crews).map(move |crew| workers / crews + u64::from(crew < workers % crews))
}

fn crews(workers: u64) -> u64 {
    let cores = thread::available_parallelism().map_or(1, NonZero::get) as u64;
    workers.clamp(1, cores.min(MOST))
}

/// Starts `work` on a thread and in a runtime of its own, and returns what it comes to, or its panic. When the returned
/// future is dropped the work is, too, a moment later, unless it keeps its thread.
///
/// A runtime of many threads does the same with a detour: one thread reads an answer for which another one's task waits.
pub(super) fn beside<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = thread::Result<T>> {
    beside_by(|body| thread::Builder::new().name("requests".into()).spawn(body).map(drop), work)
}

/// The same on a thread that `start` starts.
fn beside_by<T: Send + 'static>(
    start: impl FnOnce(Box<dyn FnOnce() + Send>) -> io::Result<()>,
    work: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = thread::Result<T>> {
    let (mut done, ended) = oneshot::channel();
    // Whoever takes it does it.
    let offer = Arc::new(Mutex::new(Some(AssertUnwindSafe(work).catch_unwind())));
    let taken = |offer: &Mutex<Option<_>>| offer.lock().unwrap_or_else(PoisonError::into_inner).take();
    let offered = Arc::clone(&offer);
    let started = start(Box::new(move || {
        // Made here: a runtime must not be dropped where another one runs, as it would be where no thread can be had.
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        let Some(work) = taken(&offered) else { return };
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = done.closed() => {}
                result = work => drop(done.send(result)),
            }
        });
        // Whoever waits for the work need not wait for its connections to be closed.
        runtime.shutdown_background();
    }));
    async move {
        if started.is_ok()
            && let Ok(result) = ended.await
        {
            return result;
        }
        // Where there is no thread or no runtime to be had, it is done by whoever waits for it.
        match taken(&offer) {
            Some(work) => work.await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[test]
    fn all_workers_are_shared_out_and_nobody_is_idle() {
        for workers in [0, 1, 2, 3, 7, 50, 1_000] {
            let shares: Vec<_> = shares(workers).collect();
            assert_eq!(shares.iter().sum::<u64>(), workers.max(1), "{shares:?}");
            assert!(shares.iter().all(|share| (1..=shares[0]).contains(share)), "{shares:?}");
        }
    }

    #[tokio::test]
    async fn a_panic_comes_back_to_who_waits() {
        let ended = beside(async { panic!("on purpose") }).await;
        assert_eq!(ended.unwrap_err().downcast_ref::<&str>(), Some(&"on purpose"));
        assert!(beside(async { 7 }).await.is_ok_and(|seven| seven == 7));
    }

    #[tokio::test]
    async fn where_no_thread_is_to_be_had_the_work_is_done_all_the_same() {
        let nowhere = |_| Err(io::ErrorKind::WouldBlock.into());
        assert!(beside_by(nowhere, async { 7 }).await.is_ok_and(|seven| seven == 7));
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_dropped() {
        struct Told(Arc<Notify>);
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        let (begun, dropped, ended) =
            (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let (told, in_there, to_the_end) = (Told(Arc::clone(&dropped)), Arc::clone(&begun), Arc::clone(&ended));
        let working = beside(async move {
            in_there.notify_one();
            std::future::pending::<()>().await;
            to_the_end.store(true, Ordering::Relaxed);
            drop(told);
        });
        begun.notified().await;
        drop(working);
        dropped.notified().await;
        assert!(!ended.load(Ordering::Relaxed));
    }
}
