//! The PostgreSQL store: any number of servers on one database.
//!
//! - Read committed, and every change of a session is one statement that repeats its conditions: PostgreSQL looks at them
//!   again once it has the row's lock, so two servers that rotate one session have one successor.
//! - `synchronous_commit` is on whatever the database's default is: what was answered outlives the database's crash.
//! - A connection that broke leaves it open whether the statement was committed. It is run again with the same attempt,
//!   on another connection; a rotation that was committed is then recognised as one's own.
//! - Whoever cannot be served in a few seconds is told so.
//!
//! It needs a session of its own on each connection: a pooler in between must pool sessions, not transactions.

mod attempts;
mod connection;
mod directory;
mod errors;
mod keys;
mod sessions;
mod steps;
mod sweep;
mod transaction;
mod users;

use async_trait::async_trait;
use sqlx::SqlSafeStr as _;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnection, PgPool};
use tokio::time::timeout;

use self::connection::LastLoss;
use super::{DatabaseUrl, OpenError, PostgresUrl};
use crate::ports::{Store, StoreError, Sweep, Swept};

/// The database's clock in milliseconds; the same all through one statement.
macro_rules! now {
    () => {
        "(extract(epoch FROM statement_timestamp()) * 1000)::bigint"
    };
}
use now;

/// A PostgreSQL database.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    /// Connections, made when they are needed and replaced when they break.
    pool: PgPool,
    /// Tells the pool which of its connections to try before they are used.
    last_loss: LastLoss,
}

impl PostgresStore {
    /// Connects to the database and brings its tables up to date.
    pub async fn open(url: &PostgresUrl) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Database { database: DatabaseUrl::Postgres(url.clone()), source };
        let last_loss = LastLoss::default();
        let pool = connection::pool(last_loss.clone()).connect_with(url.options()).await.map_err(failed)?;
        // Not given back to the pool: its settings are those of a migration, and it holds a lock until it is closed.
        let mut connection = pool.acquire().await.map_err(failed)?.detach();
        connection::prepare_for_migration(&mut connection).await.map_err(failed)?;
        let migrated = migrate(&mut connection, url).await;
        let _ = sqlx::Connection::close(connection).await;
        migrated?;
        Ok(Self { pool, last_loss })
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn sweep(&self, sweep: Sweep) -> Result<Swept, StoreError> {
        sweep::sweep(self, sweep).await
    }

    async fn sweep_attempts(&self, most: u32) -> Result<usize, StoreError> {
        attempts::sweep(self, most).await
    }

    /// Waits for what is under way and closes all connections. What has not ended by then ends with the process.
    async fn close(&self) {
        let _ = timeout(connection::CLOSE_TIMEOUT, self.pool.close()).await;
    }
}

/// Runs all migrations under an advisory lock of the database, so several servers that start at once run them once.
async fn migrate(connection: &mut PgConnection, url: &PostgresUrl) -> Result<(), OpenError> {
    let database = || DatabaseUrl::Postgres(url.clone());
    match migrator().run_direct(None, connection, false).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(_)) => Err(OpenError::NewerSchema(database())),
        Err(source) => Err(OpenError::Migration { database: database(), source }),
    }
}

fn migrator() -> Migrator {
    let migration = |version, description: &'static str, sql: &'static str| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        migration(1, "users and sessions", include_str!("../../../migrations/postgres/0001_users_and_sessions.sql")),
        migration(2, "key schedule", include_str!("../../../migrations/postgres/0002_key_schedule.sql")),
        migration(3, "login attempts", include_str!("../../../migrations/postgres/0003_login_attempts.sql")),
        migration(4, "peppers", include_str!("../../../migrations/postgres/0004_peppers.sql")),
        migration(5, "no index by end", include_str!("../../../migrations/postgres/0005_no_index_by_end.sql")),
        migration(6, "sessions by pepper", include_str!("../../../migrations/postgres/0006_sessions_by_pepper.sql")),
    ])
}
