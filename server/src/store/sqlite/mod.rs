//! The SQLite store: one file, one writer, several readers.
//!
//! - WAL with `synchronous=FULL`: what was answered is on the disk.
//! - One connection writes, so writers queue in this process and not in SQLite's busy handler; each write is one statement
//!   or one `BEGIN IMMEDIATE`, never a transaction that reads first and then finds itself out of date.
//! - Changes of sessions that wait share a commit, and with it a write to the disk (`writer.rs`).
//! - Readers see whatever was committed before they began and never wait for the writer.

mod attempts;
mod directory;
mod forget;
mod keys;
mod sessions;
mod steps;
mod sweep;
mod users;
mod writer;

use std::fs::OpenOptions;
use std::future::ready;
use std::path::Path;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::sleep;

use self::writer::Writer;
use super::{DatabaseUrl, Missing, OpenError};
use crate::ports::{Store, StoreError, Sweep, Swept};

/// The database's clock in milliseconds; the same all through one statement.
macro_rules! now {
    () => {
        "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)"
    };
}
use now;

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const BUSY_PAUSE: Duration = Duration::from_millis(20);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 8;

/// A SQLite database.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    /// The only connection that writes; the pool is the queue of those who borrow it.
    writer: SqlitePool,
    /// Gathers changes and commits them together, over that same connection.
    changes: Writer,
    /// Connections that only read (`query_only`).
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens the database at `path` and brings its tables up to date.
    ///
    /// A file that is made here is readable by its owner alone; SQLite gives its side files the same mode.
    pub async fn open(path: &Path, missing: Missing) -> Result<Self, OpenError> {
        prepare_file(path, missing)?;
        refuse_foreign(path).await?;
        let failed = |source| OpenError::Database { database: database(path), source };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        let writer = connect_writer(&options).await.map_err(failed)?;
        migrate(&writer, path).await?;
        warn_of_wide_modes(path);
        let readers = pool(READERS).connect_with(options.pragma("query_only", "ON")).await.map_err(failed)?;
        let changes = Writer::start(writer.clone());
        Ok(Self { writer, changes, readers })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn sweep(&self, sweep: Sweep) -> Result<Swept, StoreError> {
        sweep::sweep(self, sweep).await
    }

    async fn sweep_attempts(&self, most: u32) -> Result<usize, StoreError> {
        attempts::sweep(self, most).await
    }

    /// Writes what waits to be written and closes all connections, which folds the write-ahead log into the file.
    async fn close(&self) {
        self.changes.close().await;
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Connects, trying again while the file is busy: the busy handler does not cover the switch to WAL, which fails at once
/// where another process that starts at the same time is about it.
async fn connect_writer(options: &SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    let start = Instant::now();
    loop {
        match pool(1).connect_with(options.clone()).await {
            Err(error) if is_busy(&error) && start.elapsed() < BUSY_TIMEOUT => sleep(BUSY_PAUSE).await,
            connected => return connected,
        }
    }
}

fn is_busy(error: &sqlx::Error) -> bool {
    primary_code(error) == Some(5)
}

/// Connections are kept for good: opening one costs more than keeping it, and its file cannot go away.
fn pool(size: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(size)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        // A transaction that SQLite ended by itself still counts as open with sqlx, and no other could be begun.
        .before_acquire(|connection, _| Box::pin(ready(Ok(!connection.is_in_transaction()))))
}

fn prepare_file(path: &Path, missing: Missing) -> Result<(), OpenError> {
    if missing == Missing::Refuse && !path.exists() {
        return Err(OpenError::NotThere(path.to_owned()));
    }
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(source) => Err(OpenError::File { path: path.to_owned(), source }),
    }
}

/// Warns of a database that others can read. It is not refused: a group that makes the backups may be meant.
#[cfg(unix)]
fn warn_of_wide_modes(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;

    if path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0) {
        let path = path.display();
        tracing::warn!("the database {path} can be read or written by others: chmod 600 if that is not meant");
    }
}

#[cfg(not(unix))]
fn warn_of_wide_modes(_: &Path) {}

/// Refuses a file of another program before anything in it is changed. What cannot be read here is told of by whoever
/// opens it next.
async fn refuse_foreign(path: &Path) -> Result<(), OpenError> {
    const TABLES: &str = "SELECT count(*) > 0 AND count(*) FILTER (WHERE name = '_sqlx_migrations') = 0
        FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT);
    let Ok(mut connection) = options.disable_statement_logging().connect().await else {
        return Ok(());
    };
    let foreign = sqlx::query_scalar::<_, bool>(TABLES).fetch_one(&mut connection).await.unwrap_or(false);
    let _ = connection.close().await;
    if foreign { Err(OpenError::Foreign(path.to_owned())) } else { Ok(()) }
}

/// Runs all migrations in one immediate transaction, so two processes that start at once do not both run them.
async fn migrate(writer: &SqlitePool, path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Migration { database: database(path), source };
    let mut transaction = writer
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(|source| OpenError::Database { database: database(path), source })?;
    match migrator().run_direct(None, &mut *transaction, false).await {
        Ok(()) => transaction.commit().await.map_err(|error| failed(error.into())),
        Err(MigrateError::VersionMissing(_)) => Err(OpenError::NewerSchema(database(path))),
        Err(error) => Err(failed(error)),
    }
}

fn database(path: &Path) -> DatabaseUrl {
    DatabaseUrl::Sqlite(path.to_owned())
}

fn migrator() -> Migrator {
    super::migrator([
        ("users and sessions", include_str!("../../../migrations/sqlite/0001_users_and_sessions.sql")),
        ("key schedule", include_str!("../../../migrations/sqlite/0002_key_schedule.sql")),
        ("login attempts", include_str!("../../../migrations/sqlite/0003_login_attempts.sql")),
        ("peppers", include_str!("../../../migrations/sqlite/0004_peppers.sql")),
        ("no index by end", include_str!("../../../migrations/sqlite/0005_no_index_by_end.sql")),
        ("sessions by pepper", include_str!("../../../migrations/sqlite/0006_sessions_by_pepper.sql")),
    ])
}

/// Returns SQLite's primary result code, the low byte: <https://www.sqlite.org/rescode.html>.
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<u32>().ok().map(|code| code & 0xff)
}

/// Whether others are in the way: the file or a table of it is locked.
pub(super) fn is_in_use(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(5 | 6))
}

/// Tells a database that is away or busy from one that answers nonsense.
fn store_error(error: sqlx::Error) -> StoreError {
    let away = match &error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => true,
        error => matches!(primary_code(error), Some(3 | 5..=8 | 10 | 11 | 13 | 14 | 23 | 26)),
    };
    if away { StoreError::Unavailable(Box::new(error)) } else { StoreError::Unexpected(Box::new(error)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_openings_at_once_migrate_once() {
        // Not every round meets the moment in which the file is switched to WAL.
        for _ in 0..20 {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("a.db");
            let open = || SqliteStore::open(&path, Missing::Create);
            let (one, two, three) = tokio::join!(open(), open(), open());
            for store in [one.unwrap(), two.unwrap(), three.unwrap()] {
                store.close().await;
            }
        }
    }

    #[tokio::test]
    async fn a_newer_schema_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let store = SqliteStore::open(&path, Missing::Create).await.unwrap();
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (999, 'from the future', 1, x'00', 0)",
        )
        .execute(&store.writer)
        .await
        .unwrap();
        store.close().await;
        let refused = SqliteStore::open(&path, Missing::Create).await.unwrap_err();
        assert!(matches!(refused, OpenError::NewerSchema(_)), "{refused:?}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_file_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let store = SqliteStore::open(&path, Missing::Create).await.unwrap();
        for name in ["a.db", "a.db-wal", "a.db-shm"] {
            let mode = directory.path().join(name).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        store.close().await;
    }

    /// No kill of a process can show it: what was written outlives that anyway, and only the loss of power tells.
    #[tokio::test]
    async fn a_commit_waits_for_the_disk() {
        const FULL: i64 = 2;

        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("a.db"), Missing::Create).await.unwrap();
        let setting = sqlx::query_scalar::<_, i64>("PRAGMA synchronous");
        assert_eq!(setting.fetch_one(&store.writer).await.unwrap(), FULL);
        store.close().await;
    }

    #[tokio::test]
    async fn readers_cannot_write() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("a.db"), Missing::Create).await.unwrap();
        let written = sqlx::query("DELETE FROM users").execute(&store.readers).await;
        assert!(written.is_err());
        store.close().await;
    }
}
