//! What was done, and what it came to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::support::Server;

/// Counts over the whole run.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) processes: u64,
    /// `kill -9`.
    pub(super) kills: u64,
    pub(super) signals: u64,
    pub(super) restarts: u64,
    /// Of the daemon behind a store.
    pub(super) crashes: u64,
    /// How processes ended.
    pub(super) ends: BTreeMap<String, u64>,
    /// By kind; the network counts for itself, in the middle of a call.
    pub(super) faults: Arc<Mutex<BTreeMap<String, u64>>>,
    /// Processes that had no session any more.
    pub(super) lost: u64,
    pub(super) stuck: u64,
    /// Processes that ended in any other way that they must not.
    pub(super) broken: u64,
}

impl Tally {
    pub(super) fn is_sound(&self) -> bool {
        (self.lost, self.stuck, self.broken) == (0, 0, 0)
    }

    /// Returns the counts so far, in a line.
    pub(super) fn line(&self, server: &Server) -> String {
        let Self { processes, kills, signals, restarts, lost, stuck, broken, .. } = self;
        let (requests, refreshes, reuses) = (server.logged("GET /protected "), server.refreshes(), server.reuses());
        let faults: u64 = self.faults.lock().unwrap().values().sum();
        format!(
            "{refreshes} refreshes, {requests} requests, {processes} processes, {kills} kill -9, {signals} signals, \
             {faults} faults, {restarts} restarts; {lost} lost sessions, {stuck} stuck, {broken} broken, {reuses} taken \
             for theft"
        )
    }

    /// Returns all counts.
    pub(super) fn summary(&self, server: &Server, time: Duration) -> String {
        let mut summary = format!("\nafter {} s: {}\n", time.as_secs(), self.line(server));
        if self.crashes > 0 {
            let _ = writeln!(summary, "  {:>6} × crash of the keyring's own daemon", self.crashes);
        }
        for (name, count) in &*self.faults.lock().unwrap() {
            let _ = writeln!(summary, "  {count:>6} × {name}");
        }
        for (name, count) in &self.ends {
            let _ = writeln!(summary, "  {count:>6} × process, {name}");
        }
        let verdict = if self.is_sound() && server.reuses() == 0 { "every session stands" } else { "BROKEN" };
        summary + verdict
    }
}
