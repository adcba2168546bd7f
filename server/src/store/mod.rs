//! Databases behind [`crate::ports`].
//!
//! A room each, [`sqlite`] and [`postgres`], with migrations in `migrations/`. Which one it is, a [`DatabaseUrl`] says; no
//! other module knows.

pub mod postgres;
mod rows;
pub mod sqlite;
mod url;

use std::path::PathBuf;
use std::sync::Arc;

pub use postgres::PostgresStore;
pub use sqlite::SqliteStore;
use sqlx::SqlSafeStr as _;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::PgDatabaseError;
pub use url::{DatabaseUrl, InvalidDatabaseUrl, PostgresUrl};

use self::rows::corrupt;
use crate::ports::{Store, StoreError};

/// Opens the database and brings its tables up to date.
pub async fn open(database: &DatabaseUrl, missing: Missing) -> Result<Arc<dyn Store>, OpenError> {
    match database {
        DatabaseUrl::Sqlite(path) => Ok(Arc::new(SqliteStore::open(path, missing).await?)),
        DatabaseUrl::Postgres(url) => Ok(Arc::new(PostgresStore::open(url).await?)),
    }
}

/// Whether a database that is not there is made. A PostgreSQL database is never made, its tables always are.
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
    /// It is no database, a damaged one, or cannot be reached.
    #[error("could not open the database {database}")]
    Database {
        /// The database.
        database: DatabaseUrl,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// It has tables, and none of ours.
    #[error("{} is the database of another program", .0.display())]
    Foreign(PathBuf),
    /// A newer server has been here.
    #[error("the database {0} was made by a newer version of authcli-server")]
    NewerSchema(DatabaseUrl),
    /// Its tables could not be brought up to date.
    #[error("could not bring the database {database} up to date")]
    Migration {
        /// The database.
        database: DatabaseUrl,
        /// What went wrong.
        #[source]
        source: MigrateError,
    },
}

impl OpenError {
    /// Returns what the operator can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Database { source, .. } if is_busy(source) => Some(BUSY.to_owned()),
            Self::NotThere(_) => Some("`authcli-server user add` makes one, as does `serve`".to_owned()),
            Self::NewerSchema(_) => Some("install that version again".to_owned()),
            Self::Database { database: DatabaseUrl::Postgres(_), .. }
            | Self::Migration {
                database: DatabaseUrl::Postgres(_),
                source: MigrateError::Execute(sqlx::Error::Io(_)),
            } => Some("`psql` with the same address shows whether it can be reached".to_owned()),
            Self::Migration { database: DatabaseUrl::Postgres(_), source } if postgres::is_lock_timeout(source) => {
                Some(
                    "another transaction holds a table, for example that of a `pg_dump`, or another server migrates; \
                 `authcli-server migrate` tries again"
                        .to_owned(),
                )
            }
            Self::Migration { database: DatabaseUrl::Postgres(_), .. } => {
                Some("its user must be allowed to make tables; `authcli-server migrate` tries again".to_owned())
            }
            Self::File { .. } | Self::Foreign(_) | Self::Database { .. } | Self::Migration { .. } => {
                Some("`--database sqlite:PATH` names another file".to_owned())
            }
        }
    }
}

const BUSY: &str = "others keep it busy, or locked; run the command again when they are done";

/// Returns what the operator can do about a database that did not do what it was asked.
pub fn hint(error: &StoreError) -> Option<&'static str> {
    match error {
        StoreError::Unavailable(cause) if cause.downcast_ref().is_some_and(is_busy) => Some(BUSY),
        StoreError::Unavailable(_) => {
            Some("see that it runs, can be reached and has room on its disk, then run the command again")
        }
        StoreError::Unknown(_) => {
            Some("`authcli-server user list` or `keys list` shows whether it was; a password may be set once more")
        }
        StoreError::Unexpected(_) => None,
    }
}

/// Whether others are in the way, in a database that is there.
fn is_busy(error: &sqlx::Error) -> bool {
    match error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>()) {
        Some(error) => postgres::is_in_use(error),
        None => sqlite::is_in_use(error),
    }
}

/// Numbers migrations in their order.
fn migrator<const COUNT: usize>(migrations: [(&'static str, &'static str); COUNT]) -> Migrator {
    let numbered = (1..).zip(migrations).map(|(version, (description, sql))| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(numbered.collect())
}
