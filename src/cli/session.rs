//! Logging in and out, and what there is of a session.

use std::time::Duration;

use clap::Args;

use super::values::duration;

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// Who logs in; asked for on a terminal if left out
    #[arg(short, long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// Read the password from standard input: its first line
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// Log out of every profile
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Show also what the access token says of itself; nobody has verified it
    #[arg(long)]
    pub(crate) claims: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// Print `Authorization: Bearer …`, as `curl -H @file` reads it
    #[arg(long)]
    pub(crate) header: bool,
    /// Refresh if the token would end sooner than this (500ms, 5s, 2m, or seconds)
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub(crate) min_valid: Option<Duration>,
}
