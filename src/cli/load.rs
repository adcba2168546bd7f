//! Many requests, and a token for another program.

use std::ffi::OsString;
use std::time::Duration;

use authcli::http::parse_method;
use clap::{ArgAction, ArgGroup, Args};
use reqwest::Method;

use super::RequestArgs;
use super::values::{at_least_one, duration, positive_duration, rate};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("length").args(["requests", "duration"]).required(true).multiple(true))]
pub(crate) struct BurstArgs {
    /// Path on the server
    #[arg(default_value = "/protected")]
    pub(crate) path: String,
    /// How many requests to send
    #[arg(short = 'n', long, value_name = "N", value_parser = at_least_one)]
    pub(crate) requests: Option<u64>,
    /// How many at a time [default: all, at most 1000]
    #[arg(short, long, value_name = "C", value_parser = at_least_one)]
    pub(crate) concurrency: Option<u64>,
    /// The method
    #[arg(short = 'X', long, value_name = "METHOD", default_value = "GET", value_parser = parse_method)]
    pub(crate) method: Method,
    /// Send R requests a second, however slow the answers are, and count each from when it was due
    #[arg(long, value_name = "R", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Begin no request after this time; those under way are waited for
    #[arg(long, value_name = "DUR", value_parser = positive_duration)]
    pub(crate) duration: Option<Duration>,
    /// Fail (exit code 1) if this process sends more than N refreshes
    #[arg(long, value_name = "N")]
    pub(crate) max_refreshes: Option<u64>,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
    /// Try each again up to N times, as `get --retry` does; the time that takes is part of its latency
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) retry: u32,
    /// Print one JSON object
    #[arg(long, conflicts_with = "ndjson")]
    pub(crate) json: bool,
    /// Print a line of JSON for each request as it ends, then the JSON object
    #[arg(long)]
    pub(crate) ndjson: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BatchArgs {
    /// How many requests at a time
    #[arg(short, long, value_name = "C", value_parser = at_least_one, default_value_t = 50)]
    pub(crate) concurrency: u64,
    /// Print each answer as it comes, not in the order of the lines
    #[arg(long)]
    pub(crate) unordered: bool,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
    /// Try each again up to N times, as `get --retry` does; the time that takes is part of elapsed_ms
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) retry: u32,
}

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// Refresh if the token would end sooner than this [default: a minute, or half a token's life if that is less]
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub(crate) min_valid: Option<Duration>,
    /// The command and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, action = ArgAction::Append)]
    pub(crate) command: Vec<OsString>,
}
