//! What can be typed: clap types, no logic.
#![expect(clippy::doc_markdown, reason = "these comments are the texts of --help, where backticks would be noise")]

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};

use authcli::store::StoreKind;

/// Call token-protected HTTP APIs as though tokens never expired
#[derive(Debug, Parser)]
#[command(name = "authcli", version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  authcli login -u admin --server https://api.example.com
  authcli get /protected
  authcli burst -n 100 /protected

A flag beats the environment, the environment beats the profile. AUTHCLI_CONFIG_DIR names the directory of all files; \
NO_COLOR is honoured.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Use this profile [env: AUTHCLI_PROFILE] [default: default]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Use this server [env: AUTHCLI_SERVER] [default: the profile's, else http://127.0.0.1:3000]
    #[arg(long, global = true, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) server: Option<String>,
    /// Where `login` keeps the tokens [env: AUTHCLI_STORE] [default: keyring] [values: keyring, file]
    #[arg(long, global = true, value_name = "STORE")]
    pub(crate) store: Option<StoreKind>,
    /// Show requests, answers and what the refresh gate decides, never a secret
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Say nothing on stderr but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: ColorChoice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Log in and keep the tokens
    #[command(after_help = "\
Examples:
  authcli login -u admin
  printf %s \"$PASSWORD\" | authcli login -u ci --password-stdin --store file --server https://api.example.com")]
    Login(LoginArgs),
    /// Revoke the session at the server and forget the tokens
    Logout(LogoutArgs),
    /// Show who is logged in where, and until when; asks no server
    Status(StatusArgs),
    /// Print a live access token
    #[command(after_help = "\
Examples:
  curl -H @<(authcli token --header) https://api.example.com/protected
  TOKEN=$(authcli token --min-valid 5m)")]
    Token(TokenArgs),
    /// Refresh the tokens now
    Refresh,
    /// Send a GET request and print the body of the answer
    #[command(after_help = "\
Examples:
  authcli get /protected
  authcli get /users -H 'Accept: application/json' | jq .
  authcli get /report.pdf -o report.pdf --timeout 2m")]
    Get(GetArgs),
    /// Send many requests at once through one refresh gate
    #[command(after_help = "\
Examples:
  authcli burst -n 10
  authcli burst -n 1000 -c 50 /users --json | jq .refreshes")]
    Burst(BurstArgs),
}

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

/// Reads `500ms`, `5s`, `2m`, or a bare number of seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let parsed = if text.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        match text.parse::<f64>() {
            Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
            Err(_) => text.parse().ok().and_then(|duration: jiff::SignedDuration| duration.try_into().ok()),
        }
    } else {
        None
    };
    parsed.ok_or_else(|| "expected a time such as 500ms, 5s, 2m, or a number of seconds".into())
}

fn at_least_one(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a whole number of at least 1".into()),
        Ok(number) => Ok(number),
    }
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        duration if duration.is_zero() => Err("it must be longer than nothing".into()),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, expected) in [
            ("500ms", Some(500)),
            ("5s", Some(5_000)),
            ("2m", Some(120_000)),
            ("7", Some(7_000)),
            ("0.5", Some(500)),
            ("1h 30m", Some(5_400_000)),
            ("0", Some(0)),
            ("", None),
            ("-5s", None),
            ("-1", None),
            ("inf", None),
            ("5 parsecs", None),
            ("1e400", None),
        ] {
            assert_eq!(duration(text).ok(), expected.map(Duration::from_millis), "{text}");
        }
    }
}
