//! A thread for calls that may block for ever: keyrings that wait for a prompt, disks and locks on a network.
//!
//! The thread is detached on purpose. A runtime joins its own blocking threads when it ends, so one hung call there
//! would hang the program's exit; a detached thread is left behind with its call.

use std::sync::mpsc::{Sender, channel};
use std::thread;

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// One thread that does jobs in the order in which they come: some backends do not order calls from different threads.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    jobs: Sender<Job>,
}

/// The thread is gone: a job panicked, or the thread could not be started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkerGone;

impl Worker {
    /// Starts a thread called `name`; it ends with the last clone of this handle.
    pub(crate) fn start(name: &str) -> Self {
        let (jobs, queue) = channel::<Job>();
        // A thread that could not be started drops the queue, and every call then says `WorkerGone`.
        let _ = thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Ok(job) = queue.recv() {
                job();
            }
        });
        Self { jobs }
    }

    /// Runs `job` on the thread. Dropping the future does not stop a job that has begun.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkerGone> {
        let (result, received) = oneshot::channel();
        // A caller that has gone away needs no result.
        let job = Box::new(move || drop(result.send(job())));
        self.jobs.send(job).map_err(|_| WorkerGone)?;
        received.await.map_err(|_| WorkerGone)
    }
}
