//! A small dual-token server: short access tokens, rotating refresh tokens, one row a login.
//!
//! - [`domain`]: the rules, as pure code.
//! - [`ports`]: what the server asks of a database; [`store`]: databases that do it.
//! - [`auth`]: log in, refresh, log out, let through; [`routes`]: the same over HTTP.
//! - [`pepper`], [`keys`], [`password`], [`random`]: secrets and what is made of them.
//! - [`sweep`]: deletes sessions that have been over for long.
//! - `open_files`: how many connections the open-file limit leaves room for.
//! - [`startup`]: builds and runs a server from a [`config`]; [`demo`]: its two well-known users.
//! - [`cli`], [`commands`], [`telemetry`]: the program around it; `text`: how it speaks of numbers.
//!
//! Imports point one way: `main -> commands -> startup -> routes -> auth -> {ports, domain}`; `store` implements `ports`.

pub mod auth;
pub mod cli;
pub mod commands;
pub mod config;
pub mod demo;
pub mod domain;
pub mod keys;
mod open_files;
pub mod password;
pub mod pepper;
pub mod ports;
pub mod random;
pub mod routes;
pub mod startup;
pub mod store;
pub mod sweep;
pub mod telemetry;
mod text;
