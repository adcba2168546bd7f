//! Why there is no pepper to work with, and what the operator can do about it.

use std::io;
use std::path::PathBuf;

use aws_lc_rs::error::Unspecified;

use super::{BYTES, Needs};
use crate::ports::{PepperId, StoreError};

/// Why there is no pepper to work with.
#[derive(Debug, thiserror::Error)]
pub enum PepperError {
    /// The database has sessions and keys that nobody can use without it.
    #[error("the pepper of this database is missing: there is no {}", .0.display())]
    Missing(PathBuf),
    /// The file cannot be read or made.
    #[error("could not read or make the pepper file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others may read it.
    #[error("the pepper file {} can be read by others", .0.display())]
    Exposed(PathBuf),
    /// Not base64, or too short to be a key.
    #[error("the pepper from {0} is not base64 of at least {BYTES} bytes")]
    Unusable(String),
    /// The variable is there and holds nothing: taken for unset, it might make a new pepper where one was meant.
    #[error("{0} is set to nothing")]
    Empty(&'static str),
    /// None of them is one that this database knows.
    #[error("the pepper does not belong to this database")]
    Mismatch,
    /// One of several is missing too early.
    #[error("the pepper {} of this database is missing, and {needed} need it", id.0)]
    StillNeeded {
        /// The one that is not there.
        id: PepperId,
        /// What there is no way to use without it.
        needed: Needs,
    },
    /// Another server was started with one that is newer than all of these.
    #[error("the newest pepper {} of this database is missing", .0.0)]
    NewerMissing(PepperId),
    /// What it sealed does not open.
    #[error("the row of the pepper {} is damaged", .0.0)]
    Damaged(PepperId),
    /// It is in the environment, which is not ours to change.
    #[error("the pepper comes from AUTHCLI_SERVER_PEPPER, which no command can change")]
    NotInAFile,
    /// The last rotation has not reached a server yet.
    #[error("a new pepper waits already: no server was started with it yet")]
    Waiting,
    /// The database knows none of that number.
    #[error("this database knows no pepper {}", .0.0)]
    Unknown(PepperId),
    /// It is to be forgotten, but it is there.
    #[error("the pepper {} is not lost: it is among those that are given", .0.0)]
    NotLost(PepperId),
    /// It is to be forgotten, and nobody has said that its sessions may end.
    #[error("nothing was changed: with the pepper {}, {ending} would end", id.0)]
    NotAgreed {
        /// The one that is to go.
        id: PepperId,
        /// What goes with it.
        ending: Needs,
    },
    /// Others keep adding peppers of theirs.
    #[error("the peppers of this database kept changing")]
    Contended,
    /// The database did not answer.
    #[error("could not read the database")]
    Store(#[from] StoreError),
    /// Never, but for a fault of the cryptography.
    #[error("could not seal a key under the pepper")]
    Sealing(#[from] Unspecified),
}

impl PepperError {
    /// Returns what the operator can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Missing(_) | Self::Mismatch => {
                "restore the pepper file that lay beside the database, or set AUTHCLI_SERVER_PEPPER; if that is lost, \
                 `authcli-server pepper forget` each that `authcli-server pepper list` calls absent"
            }
            Self::StillNeeded { id, .. } => {
                return Some(format!(
                    "put it back, the newest first, until `authcli-server pepper list` says that nothing needs it; if \
                     it is lost, `authcli-server pepper forget {}` says what ends with it",
                    id.0
                ));
            }
            Self::NewerMissing(id) => {
                return Some(format!(
                    "another server was started with it: give all of them the same peppers, that one before the older \
                     ones; if it is lost, `authcli-server pepper forget {}` says what ends with it",
                    id.0
                ));
            }
            Self::Unknown(_) => "`authcli-server pepper list` shows them",
            Self::NotLost(_) => "take it out of the pepper file or AUTHCLI_SERVER_PEPPER first, and keep a copy",
            Self::NotAgreed { .. } => {
                "put it back if there is a copy, and nothing ends; if there is none, stop all servers and add `--yes`"
            }
            Self::Exposed(path) => return Some(format!("chmod 600 {}", path.display())),
            Self::Empty(_) => "unset it, or give the pepper of this database",
            Self::Unusable(_) => {
                "restore the one that this database was used with; for a new database `openssl rand -base64 32` makes one"
            }
            Self::NotInAFile => {
                "put a new one (`openssl rand -base64 32`) and a space before it, and start the servers anew"
            }
            Self::Waiting => "start the servers anew",
            Self::File { .. } | Self::Damaged(_) | Self::Contended | Self::Store(_) | Self::Sealing(_) => return None,
        };
        Some(hint.to_owned())
    }
}
