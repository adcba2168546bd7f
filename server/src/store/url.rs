//! Which database: `sqlite:PATH` or `postgres://…`.

use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

/// A database that can be opened. It is shown without its password.
#[derive(Clone, Debug)]
pub enum DatabaseUrl {
    /// A file.
    Sqlite(PathBuf),
    /// A server.
    Postgres(PostgresUrl),
}

/// The address of a PostgreSQL database, with a password perhaps.
#[derive(Clone)]
pub struct PostgresUrl {
    text: SecretString,
    /// User, host and name alone.
    shown: String,
}

/// Why a text names no database. It is not repeated here: a URL may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDatabaseUrl {
    /// No scheme that we know.
    #[error("a database is given as `sqlite:PATH` or `postgres://USER@HOST/NAME`")]
    UnknownScheme,
    /// Nothing after `sqlite:`, or nothing that lasts.
    #[error("`sqlite:` needs the path of a file")]
    NoPath,
    /// No URL, or one with a port or an `sslmode` that is none.
    #[error("the address of the PostgreSQL database is malformed")]
    Malformed,
    /// Misspelt perhaps; silence about an `sslmode` that counts for nothing would be worse.
    #[error("the address of the PostgreSQL database has an unknown parameter")]
    UnknownParameter,
}

/// Parameters of libpq that have a meaning here.
const PARAMETERS: [&str; 13] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

impl DatabaseUrl {
    /// Reads `sqlite:PATH`, `sqlite://PATH`, or a `postgres://` URL as libpq knows it.
    pub fn parse(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return PostgresUrl::parse(text).map(Self::Postgres);
        }
        let path = text.strip_prefix("sqlite:").ok_or(InvalidDatabaseUrl::UnknownScheme)?;
        let path = path.strip_prefix("//").unwrap_or(path);
        // SQLite reads what begins with `file:` as a URI, which may name a database in memory.
        if path.is_empty() || path.starts_with(':') || path.starts_with("file:") {
            return Err(InvalidDatabaseUrl::NoPath);
        }
        Ok(Self::Sqlite(PathBuf::from(path)))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(url) => f.write_str(&url.shown),
        }
    }
}

impl PostgresUrl {
    fn parse(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        if let Some((_, query)) = text.split_once('?') {
            let mut names = query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
            if !names.all(|name| PARAMETERS.contains(&name)) {
                return Err(InvalidDatabaseUrl::UnknownParameter);
            }
        }
        // What exactly is wrong is not told: the message might hold a piece of the password.
        let options: PgConnectOptions = text.parse().map_err(|_| InvalidDatabaseUrl::Malformed)?;
        Ok(Self { shown: shown(&options), text: SecretString::from(text) })
    }

    /// Returns how to connect. What the URL leaves out comes from the environment (`PGHOST`, `PGPASSWORD`, `PGPASSFILE`
    /// and so on), as with libpq.
    pub(super) fn options(&self) -> PgConnectOptions {
        let options: PgConnectOptions = self.text.expose_secret().parse().unwrap_or_default();
        let options = match options.get_application_name() {
            Some(_) => options,
            None => options.application_name("authcli-server"),
        };
        options.disable_statement_logging()
    }
}

/// Debug is what ends up in logs.
impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({})", self.shown)
    }
}

fn shown(options: &PgConnectOptions) -> String {
    let user = options.get_username();
    let name = options.get_database().unwrap_or(user);
    let shown = match options.get_socket() {
        Some(socket) => format!("postgres://{user}@/{name}?host={}", socket.display()),
        None => format!("postgres://{user}@{}:{}/{name}", options.get_host(), options.get_port()),
    };
    // Percent-encoded control characters have been decoded.
    shown.replace(char::is_control, "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_be_relative_or_absolute() {
        let sqlite = |text: &str| match DatabaseUrl::parse(text) {
            Ok(DatabaseUrl::Sqlite(path)) => path,
            other => panic!("{other:?}"),
        };
        assert_eq!(sqlite("sqlite:a.db"), PathBuf::from("a.db"));
        assert_eq!(sqlite("sqlite:/v/a.db"), PathBuf::from("/v/a.db"));
        assert_eq!(sqlite("sqlite:///v/a.db"), PathBuf::from("/v/a.db"));
    }

    #[test]
    fn the_rest_is_refused_with_its_reason() {
        let refused = |text: &str| DatabaseUrl::parse(text).unwrap_err();
        assert_eq!(refused("a.db"), InvalidDatabaseUrl::UnknownScheme);
        assert_eq!(refused("postgres:d"), InvalidDatabaseUrl::UnknownScheme);
        assert_eq!(refused("sqlite:"), InvalidDatabaseUrl::NoPath);
        assert_eq!(refused("sqlite::memory:"), InvalidDatabaseUrl::NoPath);
        assert_eq!(refused("sqlite:file:x.db?mode=memory"), InvalidDatabaseUrl::NoPath);
        assert_eq!(refused("postgres://u@h:port/d"), InvalidDatabaseUrl::Malformed);
        assert_eq!(refused("postgres://u@h/d?sslmode=maybe"), InvalidDatabaseUrl::Malformed);
        assert_eq!(refused("postgres://u@h/d?ssl_mode=require"), InvalidDatabaseUrl::UnknownParameter);
        assert_eq!(refused("postgres://u@h/d?sslmode=require&passwort=x"), InvalidDatabaseUrl::UnknownParameter);
    }

    #[test]
    fn a_password_is_never_shown() {
        for text in [
            "postgres://anna:canary@h:5433/d",
            "postgresql://anna@h:5433/d?password=canary",
            "postgres://anna:canary@%2Frun%2Fpg/d",
            "postgres:///d?host=/run/pg&user=anna&password=canary",
        ] {
            let url = DatabaseUrl::parse(text).unwrap();
            let shown = format!("{url} {url:?} {url:#?}");
            assert!(!shown.contains("canary"), "{shown}");
            assert!(shown.contains("postgres://anna@"), "{shown}");
        }
        let refused = DatabaseUrl::parse("postgres://anna:canary@h:canary/d").unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains("canary"));
    }
}
