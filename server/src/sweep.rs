//! The sweep: sessions that have been over for long, and failed logins that are forgotten, are deleted, a few at a time,
//! for as long as the server runs.
//!
//! - A live session is never deleted, and the store looks at each again in the statement that deletes it.
//! - A session is kept for a week after its end. Whoever asks why it ended finds the reason that long, and a database whose
//!   clock runs ahead by less deletes nobody who is still logged in.
//! - A used token, a late duplicate or a logout of a deleted session is refused or does nothing, as when it was there:
//!   only a live session can be stolen, and those stay.
//! - Failed logins are looked for every minute, so the table holds little more than those of the last minutes; how many
//!   that can be is bounded by the hashes that the servers can do in the time.
//! - Each step looks at a bounded number of rows, and there is a pause after it: requests do not feel it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::{debug, info};

use crate::ports::{Store, Sweep};

/// How much is done how often.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long a session is kept after its end.
    pub keep: Duration,
    /// How many sessions one step looks at.
    pub step: u32,
    /// How long to wait before each step.
    pub pause: Duration,
    /// How long to wait before failed logins are looked for again.
    pub attempts_rest: Duration,
    /// How long to wait after a walk through all sessions, or after a failure.
    pub rest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            keep: Duration::from_hours(7 * 24),
            step: 500,
            pause: Duration::from_secs(1),
            attempts_rest: Duration::from_mins(1),
            rest: Duration::from_mins(10),
        }
    }
}

/// A sweep that is under way until it is stopped.
#[derive(Debug)]
pub struct Sweeper {
    /// Dropping it asks the task to stop after the step that it is at.
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Sweeper {
    /// Starts to sweep, on a task of its own.
    pub fn start(store: Arc<dyn Store>, pace: Pace) -> Self {
        let (stop, stopped) = watch::channel(());
        let task = tokio::spawn(async move {
            tokio::join!(sweep_sessions(&*store, pace, stopped.clone()), sweep_attempts(&*store, pace, stopped));
        });
        Self { stop, task }
    }

    /// Stops between two steps.
    pub async fn stop(self) {
        drop(self.stop);
        // An error means that it panicked; it has stopped all the same.
        let _ = self.task.await;
    }
}

async fn sweep_attempts(store: &dyn Store, pace: Pace, mut stopped: watch::Receiver<()>) {
    let mut wait = pace.pause;
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            () = sleep(wait) => {}
        }
        wait = match store.sweep_attempts(pace.step).await {
            Ok(deleted) if deleted == pace.step as usize => pace.pause,
            Ok(_) => pace.attempts_rest,
            Err(error) => {
                debug!(%error, "the sweep of failed logins rests");
                pace.attempts_rest
            }
        };
    }
}

async fn sweep_sessions(store: &dyn Store, pace: Pace, mut stopped: watch::Receiver<()>) {
    let mut after = None;
    let mut deleted = 0;
    let mut wait = pace.pause;
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            () = sleep(wait) => {}
        }
        wait = pace.pause;
        match store.sweep(Sweep { after, look_at: pace.step, keep: pace.keep }).await {
            Ok(swept) => {
                deleted += swept.deleted;
                after = swept.next;
                if after.is_none() {
                    if deleted > 0 {
                        info!(deleted, "sessions that were over for long are deleted");
                    }
                    deleted = 0;
                    wait = pace.rest;
                }
            }
            Err(error) => {
                debug!(%error, "the sweep rests");
                wait = pace.rest;
            }
        }
    }
}
