//! Bringing the tables up to date, while other servers may be at work on them.
//!
//! - Several servers that start at once migrate once: the others wait for the one that does.
//! - A change of a table waits briefly for its lock, and then lets all those pass who wait behind it before it tries again:
//!   whoever holds the table (a `pg_dump`, a forgotten transaction) must not stop the servers as well.
//! - Every answer has a bound. Where there is nothing to migrate that is the one of a statement.

use std::time::Duration;

use sqlx::Connection as _;
use sqlx::migrate::{Migrate as _, MigrateError, Migrator};
use sqlx::postgres::PgConnection;
use tokio::time::{Instant, sleep, timeout};

use super::connection::{ANSWER_TIMEOUT, timed};
use super::errors::is_lock_timeout;

/// A migration may take its time. That a table is there already is no news.
const SET_UP: &str = "SELECT set_config('statement_timeout', '0', false),
    set_config('lock_timeout', '60s', false),
    set_config('client_min_messages', 'warning', false)";
/// From the moment on when no other server migrates. Shorter than requests wait for a lock themselves.
const WAIT_BRIEFLY: &str = "SELECT set_config('lock_timeout', '2s', false)";
/// How long to wait for another server that migrates, as above, and for whoever holds a table.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// How long those have their turn who waited behind us.
const PAUSE: Duration = Duration::from_secs(1);
/// How long an index of very many sessions may take.
const LONGEST_MIGRATION: Duration = Duration::from_hours(1);

/// Runs the migrations that are due, and closes the connection, which then has other settings than those of the pool.
pub(super) async fn migrate(mut connection: PgConnection) -> Result<(), MigrateError> {
    let set_up = sqlx::query(SET_UP).execute(&mut connection);
    timed::<_, MigrateError>(ANSWER_TIMEOUT, async { Ok(set_up.await?) }).await?;
    // Held until the connection is closed.
    timed(LONGEST_WAIT + ANSWER_TIMEOUT, connection.lock()).await?;
    let wait_briefly = sqlx::query(WAIT_BRIEFLY).execute(&mut connection);
    timed::<_, MigrateError>(ANSWER_TIMEOUT, async { Ok(wait_briefly.await?) }).await?;
    let migrated = try_for_a_while(&mut connection).await;
    let _ = timeout(ANSWER_TIMEOUT, connection.close()).await;
    migrated
}

async fn try_for_a_while(connection: &mut PgConnection) -> Result<(), MigrateError> {
    let migrator = migrator();
    let applied = timed(ANSWER_TIMEOUT, connection.list_applied_migrations(&migrator.table_name)).await;
    let is_up_to_date = match applied {
        Ok(applied) => migrator.iter().all(|due| applied.iter().any(|applied| applied.version == due.version)),
        // There is no such table yet.
        Err(MigrateError::Execute(sqlx::Error::Database(_))) => false,
        Err(error) => return Err(error),
    };
    let bound = if is_up_to_date { ANSWER_TIMEOUT } else { LONGEST_MIGRATION };
    let began = Instant::now();
    loop {
        match timed(bound, migrator.run_direct(None, connection, false)).await {
            Err(error) if is_lock_timeout(&error) && began.elapsed() < LONGEST_WAIT => {
                tracing::info!("a table is held by others; the migration tries again");
                sleep(PAUSE).await;
            }
            migrated => return migrated,
        }
    }
}

fn migrator() -> Migrator {
    let mut migrator = crate::store::migrator([
        ("users and sessions", include_str!("../../../migrations/postgres/0001_users_and_sessions.sql")),
        ("key schedule", include_str!("../../../migrations/postgres/0002_key_schedule.sql")),
        ("login attempts", include_str!("../../../migrations/postgres/0003_login_attempts.sql")),
        ("peppers", include_str!("../../../migrations/postgres/0004_peppers.sql")),
        ("no index by end", include_str!("../../../migrations/postgres/0005_no_index_by_end.sql")),
        ("sessions by pepper", include_str!("../../../migrations/postgres/0006_sessions_by_pepper.sql")),
    ]);
    // It is taken above, with a bound of its own.
    migrator.set_locking(false);
    migrator
}
