//! Many requests.

use clap::Args;

use super::RequestArgs;
use super::values::at_least_one;

#[derive(Debug, Args)]
pub(crate) struct BurstArgs {
    /// Path on the server
    #[arg(default_value = "/protected")]
    pub(crate) path: String,
    /// How many requests to send
    #[arg(short = 'n', long, value_name = "N", value_parser = at_least_one)]
    pub(crate) requests: u64,
    /// How many at a time [default: all, at most 1000]
    #[arg(short, long, value_name = "C", value_parser = at_least_one)]
    pub(crate) concurrency: Option<u64>,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
