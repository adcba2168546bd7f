//! Databases behind [`crate::ports`].
//!
//! A room each: [`sqlite`] now, with its migrations in `migrations/sqlite`. Which one it is, a [`DatabaseUrl`] says; no
//! other module knows.

pub mod sqlite;
mod url;

use std::path::PathBuf;

pub use sqlite::SqliteStore;
pub use url::{DatabaseUrl, InvalidDatabaseUrl};

use crate::ports::StoreError;

/// Whether a database that is not there is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Make it.
    Create,
    /// Refuse.
    Refuse,
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none at that path.
    #[error("there is no database at {}", .0.display())]
    NotThere(PathBuf),
    /// The file could not be made or read.
    #[error("could not open the database {}", path.display())]
    File {
        /// The database.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is no database, or a damaged one.
    #[error("could not open the database {}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// A newer server has been here.
    #[error("the database {} was made by a newer version of authcli-server", .0.display())]
    NewerSchema(PathBuf),
    /// Its tables could not be brought up to date.
    #[error("could not bring the database {} up to date", path.display())]
    Migration {
        /// The database.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
}

impl OpenError {
    /// Returns what the operator can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotThere(_) => Some("`authcli-server user add` makes one, as does `serve`".to_owned()),
            Self::NewerSchema(_) => Some("install that version again".to_owned()),
            Self::File { .. } | Self::Database { .. } | Self::Migration { .. } => {
                Some("`--database sqlite:PATH` names another file".to_owned())
            }
        }
    }
}

/// Maps what a row holds against the rules to an error that says so.
fn corrupt(what: &'static str) -> StoreError {
    StoreError::Unexpected(what.into())
}
