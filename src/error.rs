//! What can go wrong on the way to a live token, told by what the caller does next.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

/// An error from below, shared by all whom it concerns.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why no live token could be had. All who waited for one refresh share the same error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Nobody is logged in. Log in.
    #[error("not logged in")]
    NotLoggedIn,

    /// The server refused to renew the session, now or earlier, or somebody logged out. Log in again; nothing else
    /// helps.
    #[error("the session has ended: {reason}")]
    SessionEnded {
        /// What the server said, or that it was a logout.
        reason: String,
        /// Set where the refusal has its likely cause in a refresh that was cut off.
        #[source]
        interrupted: Option<Interrupted>,
    },

    /// The server gave no refresh token, so the access token cannot be renewed. Nothing is lost while it lives; after
    /// that, or if it was revoked, log in again.
    #[error("{}the server gave no refresh token", if *.at_its_end { "the access token is at its end, and " } else { "" })]
    NotRenewable {
        /// Whether the access token is at its end by the local clock.
        at_its_end: bool,
    },

    /// The refresh token is good only from later on (it says so: `nbf`), so nobody was asked. Nothing is lost: use the access
    /// token while it lives, and try again then.
    #[error("the refresh token is not good yet, for another {} s", wait.as_secs().max(1))]
    NotYetRenewable {
        /// For how long not.
        wait: Duration,
    },

    /// Somebody logged in as someone else, or logged out, while this program ran. Its tokens are no longer this
    /// program's to use: start it again.
    #[error("account changed: another login replaced the session that this program was using")]
    AccountChanged,

    /// The server could not be asked, or gave no usable answer. The session stands: try again later.
    #[error("could not refresh the session")]
    Unavailable {
        /// What happened.
        #[source]
        cause: Cause,
        /// How long the server asked to be left alone.
        retry_after: Option<Duration>,
    },

    /// The endpoint is not what the profile takes it for. Mend the profile or the server; the session stands.
    #[error("could not refresh the session")]
    Misconfigured {
        /// What does not fit.
        #[source]
        cause: Cause,
    },

    /// The store could not be read or written. The session stands as it was stored last.
    #[error(transparent)]
    Store(#[from] StoreError),

    /// Another process holds the refresh lock for longer than a refresh can take. The session stands: see what that
    /// process does.
    #[error("another process{} has held the refresh lock {} for more than {} s", holder.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), path.display(), waited.as_secs())]
    LockBusy {
        /// The holder, where it said who it is.
        holder: Option<u32>,
        /// The lock file.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },

    /// The lock file cannot be locked at all. Nothing is refreshed without it: keep the configuration on a file system
    /// with locks.
    #[error("could not lock {}", path.display())]
    LockFailed {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Arc<std::io::Error>,
    },

    /// The server refused a token that was fresh and had been refreshed a moment ago. More refreshes would not help:
    /// the refusal stands.
    #[error("the server refused a token that was refreshed a moment ago")]
    RefusalStands,

    /// The program is on its way out and refreshes nothing any more. The session stands.
    #[error("the program is ending, so nothing is refreshed any more")]
    Closing,

    /// The refresh ended without a result, because of a fault in this program. The session stands.
    #[error("the refresh ended without a result; this is a fault in authcli")]
    FlightLost,
}

/// A refresh was sent, and its answer never arrived or was never saved: the process was killed, or the connection broke.
/// A server that knows no `Idempotency-Key` may have replaced the refresh token all the same, and then nobody has the
/// new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a refresh that began at {} was interrupted before its answer was saved", .began_at.strftime("%Y-%m-%dT%H:%M:%SZ"))]
pub struct Interrupted {
    /// When that refresh began, on the local clock.
    pub began_at: Timestamp,
}

impl TokenError {
    /// Returns whether the old token may still be used while it lives: the session stands, only its renewal failed.
    pub fn leaves_session_usable(&self) -> bool {
        matches!(
            self,
            Self::NotRenewable { .. }
                | Self::NotYetRenewable { .. }
                | Self::Unavailable { .. }
                | Self::Misconfigured { .. }
                | Self::Store(_)
                | Self::LockBusy { .. }
                | Self::LockFailed { .. }
                | Self::Closing
                | Self::FlightLost
        )
    }
}

/// Why a store could not do its work. Every one is exit code 8.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no keyring to talk to, or it denied access. Unlock it, or log in with the file store.
    #[error("the OS keyring is not available")]
    NoKeyring(#[source] Cause),
    /// The keyring did not answer in time. It may be locked or hung.
    #[error("the OS keyring did not answer within {} s", .0.as_secs())]
    KeyringSilent(Duration),
    /// The store says that there is no entry, though one was saved and nobody logged out. A keyring that was never
    /// unlocked, or another one than at login, says so too. Unlock it, or log in again.
    #[error(
        "the token store shows no entry for this login, though one was saved; a keyring that is locked says so too"
    )]
    EntryMissing,
    /// The keyring answered with an error.
    #[error("could not {action} the keyring entry")]
    Keyring {
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        cause: Cause,
    },
    /// A file of the store could not be read or written.
    #[error("could not {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: Arc<std::io::Error>,
    },
    /// A file or directory is not safe to keep tokens in. It was left alone: mend it as the text says.
    #[error("{} is not safe to keep tokens in: {why}", path.display())]
    Unsafe {
        /// Which.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// The entry is there but cannot be understood. Log in again to replace it.
    #[error("the token entry in {place} is damaged: {what}")]
    Damaged {
        /// Which store.
        place: String,
        /// What is wrong with it; never its content.
        what: String,
    },
    /// A newer authcli wrote the entry. Use that one; this one will not overwrite it.
    #[error("the token entry in {place} is of version {found}; this authcli knows versions up to {known}")]
    NewerVersion {
        /// Which store.
        place: String,
        /// Its version.
        found: u64,
        /// Ours.
        known: u64,
    },
    /// The store shows an older state than one that was already reached, so a renewal from it could end the session.
    #[error("{place} shows save number {found} of this login, but number {expected} was made before")]
    Behind {
        /// Which store.
        place: String,
        /// What it shows.
        found: u64,
        /// What it should show at least.
        expected: u64,
    },
    /// The thread that talks to the store is gone, because of a fault in this program.
    #[error("the store stopped working; this is a fault in authcli")]
    Stopped,
}
