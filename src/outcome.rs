//! How the program ends: its exit codes, and the failures that only the command line knows.

use std::process::ExitCode;
use std::sync::Arc;

use authcli::error::{Interrupted, TokenError};
use authcli::renewal::RenewalFault;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; also when standard output was closed early.
    Done,
    /// Anything without a code of its own.
    Other,
    /// Wrong option, unknown profile, refused address.
    Usage,
    /// The final answer was 3xx.
    Redirected,
    /// The final answer was 4xx.
    ClientError,
    /// The final answer was 5xx.
    ServerError,
    /// The server was unreachable or answered nonsense.
    Unreachable,
    /// Not logged in here, or the session has ended.
    NotLoggedIn,
    /// The token store could not be read or written.
    Store,
    /// Another process holds the refresh lock.
    LockBusy,
    /// `exec` had no token to give to its command.
    ExecFailed,
    /// `exec` found its command, and could not start it.
    CannotInvoke,
    /// `exec` did not find its command.
    NoSuchCommand,
    /// SIGHUP.
    HungUp,
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// The command that `exec` ran ended so; where there is execve(2), it ends in this program's place.
    #[cfg(not(unix))]
    Command(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Other => 1,
            Exit::Usage => 2,
            Exit::Redirected => 3,
            Exit::ClientError => 4,
            Exit::ServerError => 5,
            Exit::Unreachable => 6,
            Exit::NotLoggedIn => 7,
            Exit::Store => 8,
            Exit::LockBusy => 9,
            Exit::ExecFailed => 125,
            Exit::CannotInvoke => 126,
            Exit::NoSuchCommand => 127,
            Exit::HungUp => 129,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
            #[cfg(not(unix))]
            Exit::Command(code) => code,
        })
    }
}

impl Exit {
    /// Returns how a program ends whose final answer had `status`.
    pub(crate) fn of_status(status: reqwest::StatusCode) -> Self {
        match status.as_u16() {
            300..400 => Self::Redirected,
            400..500 => Self::ClientError,
            500..600 => Self::ServerError,
            _ => Self::Done,
        }
    }
}

/// Something was typed that cannot be done. Exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Usage {
    message: String,
    hint: Option<String>,
}

impl Usage {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(crate) fn with_hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }

    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// Nobody is logged in. Exit code 7.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotLoggedIn {
    #[error("not logged in")]
    Nowhere { profile: String },
    #[error("the session has ended: {reason}")]
    Ended {
        profile: String,
        reason: String,
        #[source]
        interrupted: Option<Interrupted>,
    },
    #[error("not logged in at {wanted}; this profile is for {bound}")]
    OtherServer { wanted: String, bound: String },
}

/// Nothing answers where a login was to happen. Exit code 6.
#[derive(Debug, thiserror::Error)]
#[error("no server answers at {server}")]
pub(crate) struct NoServer {
    pub(crate) server: String,
    #[source]
    pub(crate) fault: RenewalFault,
}

/// The new tokens of a refresh could not be saved before the program ended. Exit code 8.
#[derive(Debug, thiserror::Error)]
#[error("the refreshed tokens could not be saved; a new login may be needed")]
pub(crate) struct Unsaved(#[source] pub(crate) Arc<TokenError>);
