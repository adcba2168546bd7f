//! One request, and what shapes every request.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};

use super::values::positive_duration;

/// What shapes a request.
#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    /// Add a header; may be given more than once
    #[arg(short = 'H', long = "header", value_name = "K: V")]
    pub(crate) headers: Vec<String>,
    /// Give up after this time (500ms, 5s, 2m, or seconds) [default: 10 s to connect, 60 s without a byte]
    #[arg(long, value_name = "DUR", value_parser = positive_duration)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// Path on the server; its own path, if it has one, comes before it
    pub(crate) path: String,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
    /// Print the head of the answer before the body
    #[arg(short, long)]
    pub(crate) include: bool,
    /// Write the body to FILE; it is replaced as a whole, and only by a successful answer
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
}
