//! The command line, end to end: the real `authcli` against the real `authcli-server`, or against a server that the test
//! answers by hand.
//!
//! What is pinned here is what scripts rely on: exit codes, what stands on which stream, the names in JSON. The wording
//! of errors is in snapshots, so that a change of it is seen.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a broken expectation is a failed test")]

mod bad_input;
mod batch;
mod burst;
mod coding;
mod connections;
mod copied;
mod doctor;
mod follow;
mod get;
mod help;
mod interrupted;
mod json_api;
mod login;
mod oauth;
mod origin;
mod over_tls;
mod paced;
mod peers;
mod processes;
mod profile;
mod redaction;
mod refusals;
mod retry;
mod send;
mod session;
mod situations;
#[path = "../support/mod.rs"]
mod support;
mod transport;
mod why;
mod worker;

#[cfg(unix)]
mod cookbook;
#[cfg(unix)]
mod exec;
#[cfg(unix)]
mod faults;
#[cfg(unix)]
mod kills;
#[cfg(unix)]
mod pipelines;
#[cfg(unix)]
mod proxy;
#[cfg(unix)]
mod shell;
#[cfg(unix)]
mod signals;
#[cfg(unix)]
mod store;

#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
mod endless;
#[cfg(target_os = "linux")]
mod keyring;
mod large;
#[cfg(target_os = "linux")]
mod readme;
#[cfg(target_os = "linux")]
mod screen;
#[cfg(target_os = "linux")]
mod terminal;
