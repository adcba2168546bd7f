//! The gate's synchronous core under Loom: every order in which two or three threads can meet in it.
//!
//! What is checked is `src/gate/core.rs` itself, compiled here with Loom's mutex and atomics (`gate/sync.rs`). After
//! every run, whatever its order:
//!
//! - at most one flight was in the air at any time, and it replaced exactly the current generation;
//! - no generation was renewed twice;
//! - everyone who waited has an answer (a lost wake-up is a deadlock, which Loom reports);
//! - nobody got the generation that was refused to them;
//! - who asked after a landing saw it, and no look at the snapshot saw less than an earlier one.
//!
//! `LOOM_MAX_PREEMPTIONS` widens the search. The tests print how many orders they tried (`--nocapture`).

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a broken expectation is a failed test"
)]

mod gate;
mod scenarios;
mod threads;

use authcli::{error, expiry, token};
