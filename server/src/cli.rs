//! The command line: types, and no more logic than what an empty variable means.

use std::env;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{FalseyValueParser, NonEmptyStringValueParser, Resettable, TypedValueParser as _};
use clap::{Arg, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use jiff::{Span, SpanRelativeTo, Timestamp};
use secrecy::SecretString;

use crate::domain::SessionId;

/// A small dual-token server: short access tokens, rotating refresh tokens
#[derive(Debug, Parser)]
#[command(name = "authcli-server", version, max_term_width = 100)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads the command line and the environment; ends the process where they are wrong, or help was asked for.
    pub fn read() -> Self {
        let matches = ignore_empty_variables(Self::command()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// A variable that is set to nothing counts as unset: what starts servers often cannot leave one away.
fn ignore_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |arg: &Arg| arg.get_env().and_then(env::var_os).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg })
        .mut_subcommands(ignore_empty_variables)
}

/// What to do
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve until stopped
    Serve(ServeArgs),
    /// Manage users
    #[command(subcommand)]
    User(UserCommand),
    /// Manage the keys that sign access tokens
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Manage the pepper, the secret outside the database that refresh tokens are made with
    #[command(subcommand)]
    Pepper(PepperCommand),
    /// Manage sessions
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// Bring the database up to date, making it if need be
    Migrate(DatabaseArgs),
}

/// Which database
#[derive(Debug, Args)]
pub struct DatabaseArgs {
    /// Database, as `sqlite:PATH` or `postgres://USER@HOST/NAME` [default: authcli-server/authcli.db in your data
    /// directory]; a password comes from the environment or a password file, as with psql
    #[arg(long, value_name = "URL", env = "AUTHCLI_SERVER_DATABASE", hide_env_values = true)]
    #[arg(value_parser = NonEmptyStringValueParser::new().map(SecretString::from))]
    pub database: Option<SecretString>,
}

/// How to serve
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Which database
    #[command(flatten)]
    pub database: DatabaseArgs,

    /// Address to listen on; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS:PORT", env = "AUTHCLI_SERVER_LISTEN")]
    #[arg(default_value = "127.0.0.1:3000")]
    pub listen: String,

    /// How long an access token is good for [default: 15m, with --demo 2s]
    #[arg(long, value_name = "DUR", env = "AUTHCLI_SERVER_ACCESS_TTL")]
    pub access_ttl: Option<Lifetime>,

    /// How long a session lives without a refresh [default: 7d, or `--session-ttl` if that is shorter]
    #[arg(long, value_name = "DUR", env = "AUTHCLI_SERVER_REFRESH_TTL")]
    pub refresh_ttl: Option<Lifetime>,

    /// How long a session lives at most
    #[arg(long, value_name = "DUR", env = "AUTHCLI_SERVER_SESSION_TTL", default_value = "90d")]
    pub session_ttl: Lifetime,

    /// Web page that may call this server, as `https://app.example.com`; may be repeated
    #[arg(long, value_name = "ORIGIN", env = "AUTHCLI_SERVER_CORS_ORIGIN", value_delimiter = ',')]
    pub cors_origin: Vec<String>,

    /// Proxy whose `X-Forwarded-For` says where a login comes from, as an address or a network such as `10.0.0.0/24`; may be
    /// repeated
    #[arg(long, value_name = "ADDRESS", env = "AUTHCLI_SERVER_TRUSTED_PROXY", value_delimiter = ',')]
    pub trusted_proxy: Vec<String>,

    /// Serve two users that everybody knows (admin/123456, user2/password2) from a throw-away database to any web page,
    /// on this machine alone
    #[arg(long, env = "AUTHCLI_SERVER_DEMO", value_parser = FalseyValueParser::new())]
    pub demo: bool,
}

/// What to do with users
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user
    Add(UserPasswordArgs),
    /// List users
    List(DatabaseArgs),
    /// Remove a user and end its sessions
    Remove(UserArgs),
    /// Set a user's password and end its sessions
    Password(UserPasswordArgs),
    /// Disable a user and end its sessions; its name and password stay
    Disable(UserArgs),
    /// Let a disabled user log in again
    Enable(UserArgs),
}

/// What to do with keys
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// List the keys and what each of them does
    List(DatabaseArgs),
    /// Announce a new key, which relieves the present one ten minutes later; nobody notices
    Rotate(KeysRotateArgs),
}

/// How to rotate keys
#[derive(Debug, Args)]
pub struct KeysRotateArgs {
    /// Replace all keys at once, because one may be known to others: access tokens are refused within seconds, and
    /// clients refresh
    #[arg(long, env = "AUTHCLI_SERVER_NOW", value_parser = FalseyValueParser::new())]
    pub now: bool,

    /// Which database
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// What to do with peppers
#[derive(Debug, Subcommand)]
pub enum PepperCommand {
    /// List the peppers and what needs each of them
    List(DatabaseArgs),
    /// Put a new pepper before the present one in the pepper file; servers that are started from now on use it, and nobody
    /// is logged out
    Rotate(DatabaseArgs),
    /// Forget a pepper that is lost: its sessions and signing keys are removed, and those of the others go on. Without
    /// `--yes` it only says what would end
    Forget(PepperForgetArgs),
}

/// Which pepper to forget
#[derive(Debug, Args)]
pub struct PepperForgetArgs {
    /// Number of the pepper, as `pepper list` shows it
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub id: i64,

    /// End what was made with it; stop all servers before, since one that still has it would go on to use it
    #[arg(long, env = "AUTHCLI_SERVER_YES", value_parser = FalseyValueParser::new())]
    pub yes: bool,

    /// Which database
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// What to do with sessions
#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// Revoke sessions: their refresh tokens are refused at once, their access tokens within five seconds
    Revoke(SessionsRevokeArgs),
}

/// Which sessions to revoke
#[derive(Debug, Args)]
pub struct SessionsRevokeArgs {
    /// Which of them
    #[command(flatten)]
    pub selection: SelectionArgs,

    /// Which database
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// Which sessions; of several conditions all must hold
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct SelectionArgs {
    /// Those of this user
    #[arg(long, value_name = "NAME", env = "AUTHCLI_SERVER_USER")]
    pub user: Option<String>,

    /// The one with this id, the `sid` of its access tokens
    #[arg(long, value_name = "ID", env = "AUTHCLI_SERVER_ID", value_parser = session_id, allow_hyphen_values = true)]
    pub id: Option<SessionId>,

    /// Those that were opened before this time, such as `2026-01-31T12:00:00Z`
    #[arg(long, value_name = "TIME", env = "AUTHCLI_SERVER_BEFORE")]
    pub before: Option<Timestamp>,
}

fn session_id(text: &str) -> Result<SessionId, &'static str> {
    SessionId::parse(text).ok_or("a session id is 22 letters of base64url, as `GET /sessions` shows it")
}

/// Which user
#[derive(Debug, Args)]
pub struct UserArgs {
    /// Name of the user
    pub name: String,

    /// Which database
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// Which user, with which password
#[derive(Debug, Args)]
pub struct UserPasswordArgs {
    /// Which user
    #[command(flatten)]
    pub user: UserArgs,

    /// Read the password from standard input; it is taken from nowhere else
    #[arg(long, env = "AUTHCLI_SERVER_PASSWORD_STDIN", required = true, value_parser = FalseyValueParser::new())]
    pub password_stdin: bool,
}

/// How long something lives: `500ms`, `5s`, `2m`, `7d`, or a bare number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime(pub Duration);

/// The text is no lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLifetime {
    /// Not a duration.
    #[error("give a duration such as `500ms`, `5s`, `2m`, `7d`, or a number of seconds")]
    NotADuration,
    /// Shorter than the clock can tell, or longer than anybody lives.
    #[error("a lifetime is between a millisecond and a hundred years")]
    OutOfRange,
}

impl FromStr for Lifetime {
    type Err = InvalidLifetime;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let duration = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            text.parse().map(Duration::from_secs).map_err(|_| InvalidLifetime::OutOfRange)?
        } else {
            let span: Span = text.parse().map_err(|_| InvalidLifetime::NotADuration)?;
            let signed =
                span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| InvalidLifetime::NotADuration)?;
            Duration::try_from(signed).map_err(|_| InvalidLifetime::OutOfRange)?
        };
        let sensible = Duration::from_millis(1)..=Duration::from_hours(100 * 365 * 24);
        if sensible.contains(&duration) { Ok(Self(duration)) } else { Err(InvalidLifetime::OutOfRange) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lifetimes_are_read_as_people_write_them() {
        let millis = |text: &str| text.parse::<Lifetime>().map(|lifetime| lifetime.0.as_millis());
        assert_eq!(millis("500ms"), Ok(500));
        assert_eq!(millis("5s"), Ok(5_000));
        assert_eq!(millis("2m"), Ok(120_000));
        assert_eq!(millis("15"), Ok(15_000));
        assert_eq!(millis("7d"), Ok(604_800_000));
        assert_eq!(millis("1h 30m"), Ok(5_400_000));
    }

    #[test]
    fn what_is_no_lifetime_is_refused() {
        let refused = |text: &str| text.parse::<Lifetime>().unwrap_err();
        for text in ["", "soon", "5x", "2 months", "1.5.2s"] {
            assert_eq!(refused(text), InvalidLifetime::NotADuration, "{text}");
        }
        for text in ["0", "0s", "-5s", "100ns", "99999999999999999999", "40000d"] {
            assert_eq!(refused(text), InvalidLifetime::OutOfRange, "{text}");
        }
    }
}
