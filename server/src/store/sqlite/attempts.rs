//! Failed logins in SQLite: there is one writer, so an attempt is counted in all its buckets or in none by one statement.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Sqlite, query::Query};

use super::{SqliteStore, now, store_error};
use crate::domain::{Bucket, Counted, Subject, Subjects, whole_millis};
use crate::ports::{LoginAttempts, StoreError};
use crate::store::rows::buckets;

/// The buckets of an attempt, each with its step and its size in milliseconds.
macro_rules! counted {
    () => {
        concat!(
            "WITH known AS (SELECT 1 FROM known_addresses WHERE subject = ?3 AND known_until > ",
            now!(),
            "),
            counted (subject, pace, size) AS (
                SELECT ?1, ?4, ?5 WHERE NOT EXISTS (SELECT 1 FROM known)
                UNION ALL SELECT ?2, ?6, ?7 WHERE ?2 IS NOT NULL AND NOT EXISTS (SELECT 1 FROM known)
                UNION ALL SELECT ?3, ?8, ?9 WHERE EXISTS (SELECT 1 FROM known))"
        )
    };
}

const LOOK: &str = concat!(
    counted!(),
    " SELECT counted.subject AS subject, ifnull(empty_at, 0) AS empty_at, ",
    now!(),
    " AS now FROM counted LEFT JOIN login_attempts ON login_attempts.subject = counted.subject"
);

/// `Bucket::reserve`, for all buckets at once.
const RESERVE: &str = concat!(
    counted!(),
    ", drained AS (SELECT counted.subject AS subject, pace, size,
            CASE WHEN empty_at > ",
    now!(),
    " AND empty_at <= ",
    now!(),
    " + 2 * size THEN empty_at ELSE ",
    now!(),
    " END AS drained_at
        FROM counted LEFT JOIN login_attempts ON login_attempts.subject = counted.subject)
    INSERT INTO login_attempts (subject, empty_at)
    SELECT subject, drained_at + pace FROM drained
    WHERE NOT EXISTS (SELECT 1 FROM drained WHERE drained_at + pace > ",
    now!(),
    " + size)
    ON CONFLICT (subject) DO UPDATE SET empty_at = excluded.empty_at
    RETURNING subject, empty_at, ",
    now!(),
    " AS now"
);

const REFUND: &str = "UPDATE login_attempts SET empty_at = empty_at - ?2 WHERE subject = ?1";

const REMEMBER: &str = concat!(
    "INSERT INTO known_addresses (subject, known_until) VALUES (?1, ",
    now!(),
    " + ?2) ON CONFLICT (subject) DO UPDATE SET known_until = excluded.known_until"
);

/// Also what a clock wrote that was a day or more ahead.
const SWEEP: &str = concat!(
    "DELETE FROM login_attempts WHERE subject IN (
         SELECT subject FROM login_attempts WHERE empty_at <= ",
    now!(),
    " OR empty_at > ",
    now!(),
    " + 86400000 LIMIT ?1) RETURNING 1"
);

const SWEEP_KNOWN: &str = concat!(
    "DELETE FROM known_addresses WHERE subject IN (
         SELECT subject FROM known_addresses WHERE known_until <= ",
    now!(),
    " LIMIT ?1) RETURNING 1"
);

#[async_trait]
impl LoginAttempts for SqliteStore {
    async fn buckets(&self, subjects: &Subjects) -> Result<Vec<Bucket>, StoreError> {
        let rows = bind(LOOK, subjects).fetch_all(&self.readers).await.map_err(store_error)?;
        buckets(&rows, subjects)
    }

    async fn reserve_attempt(&self, subjects: &Subjects) -> Result<Option<Vec<Bucket>>, StoreError> {
        let rows = self.changes.write(bind(RESERVE, subjects)).await?;
        if rows.is_empty() { Ok(None) } else { buckets(&rows, subjects).map(Some) }
    }

    async fn refund_attempt(&self, subject: &Subject, counted: Counted) -> Result<(), StoreError> {
        let refund = sqlx::query(REFUND).bind(subject.as_bytes().to_vec()).bind(whole_millis(counted.limit().pace));
        self.changes.write(refund).await.map(|_| ())
    }

    async fn remember_address(&self, known_address: &Subject, life: Duration) -> Result<(), StoreError> {
        let remember = sqlx::query(REMEMBER).bind(known_address.as_bytes().to_vec()).bind(whole_millis(life));
        self.changes.write(remember).await.map(|_| ())
    }
}

/// Deletes what counts for nothing any more.
pub(super) async fn sweep(store: &SqliteStore, most: u32) -> Result<usize, StoreError> {
    let buckets = store.changes.write(sqlx::query(SWEEP).bind(most)).await?.len();
    let known = store.changes.write(sqlx::query(SWEEP_KNOWN).bind(most)).await?.len();
    Ok(buckets.max(known))
}

fn bind(sql: &'static str, subjects: &Subjects) -> Query<'static, Sqlite, SqliteArguments> {
    let query = sqlx::query(sql)
        .bind(subjects.account.as_bytes().to_vec())
        .bind(subjects.network.map(|network| network.as_bytes().to_vec()))
        .bind(subjects.known_address.as_bytes().to_vec());
    [Counted::Account, Counted::Network, Counted::KnownAddress].into_iter().fold(query, |query, counted| {
        let limit = counted.limit();
        query.bind(whole_millis(limit.pace)).bind(whole_millis(limit.size()))
    })
}
