//! Logging out, and what there is of a session.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::values::duration;

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
    #[arg(long, conflicts_with = "format")]
    pub(crate) header: bool,
    /// Print JSON with the token and when it ends
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<TokenFormat>,
    /// Refresh if the token would end sooner than this (500ms, 5s, 2m, or seconds)
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub(crate) min_valid: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TokenFormat {
    /// An object with access_token, token_type and expires_at
    Json,
    /// An ExecCredential, as kubectl takes it from a credential plugin
    Kubernetes,
}
