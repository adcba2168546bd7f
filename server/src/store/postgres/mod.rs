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
mod forget;
mod keys;
mod migrations;
mod sessions;
mod steps;
mod sweep;
mod transaction;
mod users;

use async_trait::async_trait;
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgPool;
use tokio::time::timeout;

use self::connection::LastLoss;
pub(super) use self::errors::{is_in_use, is_lock_timeout};
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
        let database = || DatabaseUrl::Postgres(url.clone());
        let failed = |source| OpenError::Database { database: database(), source };
        let last_loss = LastLoss::default();
        let pool = connection::pool(last_loss.clone()).connect_with(url.options()).await.map_err(failed)?;
        // Not given back to the pool: its settings are those of a migration, and it holds a lock until it is closed.
        let connection = pool.acquire().await.map_err(failed)?.detach();
        migrations::migrate(connection).await.map_err(|error| match error {
            MigrateError::VersionMissing(_) => OpenError::NewerSchema(database()),
            source => OpenError::Migration { database: database(), source },
        })?;
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
