//! The server from outside: in process over real sockets, and as the real program.
//!
//! Each test has a server and a database of its own (`helpers`). Methods of `TestApp` go through the public API; those
//! named `db_*` touch the rows, where a test needs a time or a state that nobody can wait for.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[cfg(unix)]
mod abandoned;
mod away;
#[cfg(unix)]
mod checklist;
#[cfg(unix)]
mod clients;
mod cors;
#[cfg(unix)]
mod crashes;
mod ends;
mod expiry;
#[cfg(unix)]
mod forget;
#[cfg(unix)]
mod fuzz;
mod helpers;
#[cfg(unix)]
mod jose;
mod keys;
#[cfg(unix)]
mod leaks;
mod logins;
mod logout;
#[cfg(unix)]
mod logs;
#[cfg(unix)]
mod migrations;
#[cfg(unix)]
mod open_files;
#[cfg(unix)]
mod operator;
#[cfg(unix)]
mod operators;
#[cfg(unix)]
mod pepper;
#[cfg(unix)]
mod postgres;
#[cfg(unix)]
mod postgres_migrations;
#[cfg(unix)]
mod postgres_operators;
#[cfg(unix)]
mod postgres_store;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod program;
mod protected;
#[cfg(unix)]
mod proxy;
mod races;
mod refresh;
#[cfg(unix)]
mod restore;
mod revocation;
#[cfg(unix)]
mod secrets;
mod sessions;
mod store_contract;
mod sweep;
mod throttle;
mod throttle_store;
mod users;
#[cfg(unix)]
mod warnings;
mod wire;
