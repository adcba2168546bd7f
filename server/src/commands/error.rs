//! Why a command failed, with which exit code, and what can be done about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::domain::{InvalidPassword, InvalidUsername};
use crate::keys::KeyError;
use crate::password::PasswordError;
use crate::pepper::PepperError;
use crate::ports::{StoreError, UnfinishedRevocation};
use crate::routes::{InvalidOrigin, InvalidProxy};
use crate::startup::StartError;
use crate::store::{self, InvalidDatabaseUrl, OpenError};
use crate::telemetry::TelemetryError;

/// A command that failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A value of `--database`.
    #[error(transparent)]
    DatabaseUrl(#[from] InvalidDatabaseUrl),
    /// A value of `--listen`.
    #[error("`{text}` is no address to listen on")]
    Listen {
        /// The value.
        text: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A value of `--cors-origin`.
    #[error(transparent)]
    Origin(#[from] InvalidOrigin),
    /// A value of `--trusted-proxy`.
    #[error(transparent)]
    Proxy(#[from] InvalidProxy),
    /// A user name.
    #[error(transparent)]
    Username(#[from] InvalidUsername),
    /// A password.
    #[error(transparent)]
    Password(#[from] InvalidPassword),
    /// A value of `AUTHCLI_SERVER_LOG`, or no thread to log by.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// A password would be typed where everybody sees it.
    #[error("a password is not read from a terminal, which would show it")]
    PasswordFromTerminal,
    /// An access token that outlives its session.
    #[error("`--access-ttl` ({access:?}) must be shorter than `--refresh-ttl` ({refresh:?})")]
    AccessOutlivesRefresh {
        /// How long an access token would live.
        access: Duration,
        /// How long a session would live without a refresh.
        refresh: Duration,
    },
    /// A session that outlives itself.
    #[error("`--refresh-ttl` ({refresh:?}) must not be longer than `--session-ttl` ({session:?})")]
    RefreshOutlivesSession {
        /// How long a session would live without a refresh.
        refresh: Duration,
        /// How long it would live at most.
        session: Duration,
    },
    /// `--password-stdin` was set to no.
    #[error("a password is read from standard input alone; pass `--password-stdin`")]
    NoPasswordSource,
    /// A second signal came while requests were being finished.
    #[error("stopped at once by a second signal; requests that were under way were cut off")]
    CutOff,
    /// No home directory to find the default database in.
    #[error("there is no home directory to keep the database or its pepper in")]
    NoHome,
    /// A directory that could not be made.
    #[error("could not make the directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The database could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database did not answer all through a revocation, or a change that begins with one.
    #[error(transparent)]
    Revocation(UnfinishedRevocation),
    /// The server could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The password could not be hashed.
    #[error(transparent)]
    Hash(#[from] PasswordError),
    /// The pepper is missing or wrong.
    #[error(transparent)]
    Pepper(#[from] PepperError),
    /// The signing keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The last rotation is not over yet.
    #[error("a new signing key is announced already")]
    KeyAnnounced,
    /// The name is taken.
    #[error("there is a user `{0}` already")]
    UserExists(String),
    /// The name is nobody's.
    #[error("there is no user `{0}`")]
    NoSuchUser(String),
    /// Standard input, standard output, a signal, the network.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// One that has revoked nothing is like any other failure of the database.
impl From<UnfinishedRevocation> for CommandError {
    fn from(unfinished: UnfinishedRevocation) -> Self {
        match unfinished.revoked {
            0 => Self::Store(unfinished.source),
            _ => Self::Revocation(unfinished),
        }
    }
}

impl CommandError {
    /// Returns a way to say what was being done when the system refused.
    pub(super) fn io(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }

    /// Returns the exit code: 2 for what the command line got wrong, 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::DatabaseUrl(_)
            | Self::Listen { .. }
            | Self::Origin(_)
            | Self::Proxy(_)
            | Self::Username(_)
            | Self::Password(_)
            | Self::Telemetry(TelemetryError::Filter(_))
            | Self::PasswordFromTerminal
            | Self::AccessOutlivesRefresh { .. }
            | Self::RefreshOutlivesSession { .. }
            | Self::NoPasswordSource => 2,
            Self::NoHome
            | Self::CutOff
            | Self::Directory { .. }
            | Self::Open(_)
            | Self::Store(_)
            | Self::Revocation(_)
            | Self::Start(_)
            | Self::Hash(_)
            | Self::Pepper(_)
            | Self::Keys(_)
            | Self::Telemetry(TelemetryError::Thread(_))
            | Self::KeyAnnounced
            | Self::UserExists(_)
            | Self::NoSuchUser(_)
            | Self::Io { .. } => 1,
        }
    }

    /// Returns what can be done about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::DatabaseUrl(InvalidDatabaseUrl::Malformed | InvalidDatabaseUrl::UnknownParameter) => {
                "for example `--database postgres://authcli@db.example.com/authcli?sslmode=verify-full`"
            }
            Self::DatabaseUrl(_) => "for example `--database sqlite:/var/lib/authcli/authcli.db`",
            Self::Listen { .. } => "for example `--listen 127.0.0.1:3000`",
            Self::Telemetry(TelemetryError::Filter(_)) => "for example `AUTHCLI_SERVER_LOG=debug`",
            Self::NoHome => {
                "`--database sqlite:PATH` names a place for both; for PostgreSQL, AUTHCLI_SERVER_PEPPER holds the pepper"
            }
            Self::UserExists(_) => "`authcli-server user password NAME` changes its password",
            Self::KeyAnnounced => "`authcli-server keys list` shows when it signs; `--now` replaces all keys at once",
            Self::NoSuchUser(_) => "`authcli-server user list` shows them",
            Self::Open(error) => return error.hint(),
            Self::Revocation(UnfinishedRevocation { source: StoreError::Unknown(_), .. }) => {
                return self.hint_of_the_store();
            }
            Self::Revocation(_) => "run it again: it goes on with the rest",
            Self::AccessOutlivesRefresh { .. } => "set both, for example `--access-ttl 15m --refresh-ttl 7d`",
            Self::RefreshOutlivesSession { .. } => "set both, for example `--refresh-ttl 7d --session-ttl 90d`",
            Self::Password(_) | Self::PasswordFromTerminal => {
                "pipe it in: `printf %s \"$PASSWORD\" | authcli-server user …`"
            }
            Self::Store(error) => return store::hint(error).map(str::to_owned),
            Self::Keys(error) => return error.hint().map(str::to_owned).or_else(|| self.hint_of_the_store()),
            Self::Pepper(error) => return error.hint().or_else(|| self.hint_of_the_store()),
            Self::Start(error) => return error.hint().or_else(|| self.hint_of_the_store()),
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// Returns what can be done about the database, where that is the cause.
    fn hint_of_the_store(&self) -> Option<String> {
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<StoreError>() {
                return store::hint(error).map(str::to_owned);
            }
            cause = error.source();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_the_cause_has_a_hint_wherever_it_went_away() {
        let away = || StoreError::Unavailable("unplugged".into());
        let unknown = || StoreError::Unknown("unplugged".into());
        let hint = |error: CommandError| error.hint().unwrap_or_default();
        for error in [
            CommandError::Store(away()),
            CommandError::Keys(KeyError::Store(away())),
            CommandError::Pepper(PepperError::Store(away())),
            CommandError::Start(StartError::Store(away())),
            CommandError::Start(StartError::Keys(KeyError::Store(away()))),
        ] {
            let text = format!("{error:?}");
            assert!(hint(error).contains("can be reached"), "{text}");
        }
        let unfinished = |revoked| CommandError::from(UnfinishedRevocation { revoked, source: unknown() });
        for error in [CommandError::Keys(KeyError::Store(unknown())), unfinished(0), unfinished(2)] {
            assert!(hint(error).contains("`authcli-server user list` or `keys list` shows"));
        }
    }
}
