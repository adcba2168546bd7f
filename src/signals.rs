//! Being asked to stop: SIGINT, SIGTERM, SIGHUP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use crate::outcome::Exit;

/// Tells a command that finishes its work by itself when it is to do so.
#[derive(Clone, Debug)]
pub(crate) struct Stopping {
    said: watch::Receiver<bool>,
    /// Whether anybody has begun to listen.
    heard: Arc<AtomicBool>,
}

impl Stopping {
    /// Returns the means to say so, and what hears it.
    pub(crate) fn new() -> (watch::Sender<bool>, Self) {
        let (say, hear) = watch::channel(false);
        (say, Self { said: hear, heard: Arc::default() })
    }

    /// Returns whether the command has come so far that it waits for it to be said.
    pub(crate) fn is_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    /// Waits until it is said.
    pub(crate) async fn asked(mut self) {
        self.heard.store(true, Ordering::Relaxed);
        // Who is gone cannot say it any more, and that is as good.
        drop(self.said.wait_for(|asked| *asked).await);
    }
}

/// Signals that ask the program to stop. A signal that was ignored when the program started stays ignored: `nohup` and
/// background jobs of a shell rely on it.
pub(crate) struct StopSignals {
    #[cfg(unix)]
    listeners: Vec<(tokio::signal::unix::Signal, Exit)>,
}

#[cfg(unix)]
impl StopSignals {
    /// Starts to listen. Must be called within a runtime.
    pub(crate) fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};

        let ignored = ignored_signals();
        let listeners = [
            (SignalKind::interrupt(), Exit::Interrupted),
            (SignalKind::terminate(), Exit::Terminated),
            (SignalKind::hangup(), Exit::HungUp),
        ];
        let listeners = listeners
            .into_iter()
            .filter(|(kind, _)| ignored & (1 << (kind.as_raw_value() - 1)) == 0)
            .filter_map(|(kind, exit)| Some((signal(kind).ok()?, exit)))
            .collect();
        Self { listeners }
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Exit {
        std::future::poll_fn(|context| {
            for (listener, exit) in &mut self.listeners {
                if listener.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*exit);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// Returns the mask of ignored signals where the system tells it without a system call of its own (Linux).
#[cfg(unix)]
fn ignored_signals() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
            u64::from_str_radix(mask.trim(), 16).ok()
        })
        .unwrap_or(0)
}

#[cfg(not(unix))]
impl StopSignals {
    pub(crate) fn listen() -> Self {
        Self {}
    }

    pub(crate) async fn next(&mut self) -> Exit {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Exit::Interrupted,
            Err(_) => std::future::pending().await,
        }
    }
}
