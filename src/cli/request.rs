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
    /// Append a parameter to the query, encoded; may be given more than once
    #[arg(long = "query", value_name = "K=V")]
    pub(crate) query: Vec<String>,
    /// Send this body: the text itself, @FILE, or - for standard input. Byte for byte; the method stays, and the
    /// Content-Type is application/x-www-form-urlencoded unless -H says otherwise. Several texts are joined with &
    #[arg(short, long, value_name = "DATA|@FILE|-", allow_hyphen_values = true)]
    pub(crate) data: Vec<String>,
    /// Send a field of a form, encoded (application/x-www-form-urlencoded); may be given more than once
    #[arg(long, value_name = "K=V", conflicts_with = "data")]
    pub(crate) form: Vec<String>,
    /// Give up after this time in all (500ms, 5s, 2m, or seconds) [default: 10 s to connect, 60 s without a byte]
    #[arg(long, value_name = "DUR", value_parser = positive_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Trust the certificate authorities in this PEM file, and no others
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cacert: Option<PathBuf>,
}

/// A request of any method, and what becomes of its answer.
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// Path on the server; its own path, if it has one, comes before it
    pub(crate) path: String,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
    /// Send JSON: the text itself, @FILE, or - for standard input. Checked before it is sent (of more
    /// than 8 MiB from a pipe the beginning), with Content-Type and Accept of application/json unless -H says otherwise
    #[arg(long, value_name = "JSON|@FILE|-", allow_hyphen_values = true, conflicts_with_all = ["data", "form"])]
    pub(crate) json: Option<String>,
    /// Print the head of the answer before the body
    #[arg(short, long)]
    pub(crate) include: bool,
    /// Write the body to FILE; it is replaced as a whole, and only by a successful answer. - is standard output, even if
    /// the body is binary and that a terminal
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Try again up to N times, after a pause that grows or that Retry-After asks for, when no connection comes about. Where
    /// a repetition does no harm (GET, HEAD, PUT, DELETE, or with an Idempotency-Key) also when it breaks, and on 408, 429,
    /// 500, 502, 503 and 504. An answer that breaks off is asked for again (GET, HEAD, or with that key) if it goes to a
    /// file
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) retry: u32,
}

/// The same for methods that ask for something and change nothing.
#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    #[command(flatten)]
    pub(crate) send: SendArgs,
    /// Follow redirects, ten at most; another origin gets neither the token nor your headers
    #[arg(long)]
    pub(crate) follow: bool,
}
