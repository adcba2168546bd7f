//! Failed logins in PostgreSQL: a bucket's row is locked while it is looked at and filled, so no two servers count an
//! attempt into the same room. The network comes before the account, always, so nobody waits in a circle.

use std::time::Duration;

use async_trait::async_trait;

use super::connection::Statement;
use super::errors::store_error;
use super::{PostgresStore, now};
use crate::domain::{Bucket, Counted, Subject, Subjects, whole_millis};
use crate::ports::{LoginAttempts, StoreError};
use crate::store::rows::buckets;

macro_rules! known {
    () => {
        concat!("known AS (SELECT 1 FROM known_addresses WHERE subject = $3::bytea AND known_until > ", now!(), ")")
    };
}

/// When a bucket drains, for a row as it is once it is locked.
macro_rules! drained {
    ($size:literal) => {
        concat!(
            "(CASE WHEN held.empty_at > ",
            now!(),
            " AND held.empty_at <= ",
            now!(),
            " + 2 * ",
            $size,
            " THEN held.empty_at ELSE ",
            now!(),
            " END)"
        )
    };
}

/// One more failure in a bucket, if there is room: `Bucket::reserve`, on the row as it is once it is locked.
macro_rules! fill {
    ($pace:literal, $size:literal) => {
        concat!(
            "ON CONFLICT (subject) DO UPDATE SET empty_at = ",
            drained!($size),
            " + ",
            $pace,
            " WHERE ",
            drained!($size),
            " + ",
            $pace,
            " <= ",
            now!(),
            " + ",
            $size,
            " RETURNING subject, empty_at"
        )
    };
}

const LOOK: &str = concat!(
    "WITH ",
    known!(),
    ", counted (subject) AS (
         SELECT $1::bytea WHERE NOT EXISTS (SELECT FROM known)
         UNION ALL SELECT $2::bytea WHERE $2 IS NOT NULL AND NOT EXISTS (SELECT FROM known)
         UNION ALL SELECT $3 WHERE EXISTS (SELECT FROM known))
     SELECT counted.subject AS subject, COALESCE(empty_at, 0) AS empty_at, ",
    now!(),
    " AS now FROM counted LEFT JOIN login_attempts ON login_attempts.subject = counted.subject"
);

/// The account is looked at only where the network has room. One row where two are due means that the account had none.
const RESERVE: &str = concat!(
    "WITH ",
    known!(),
    ", network AS (
         INSERT INTO login_attempts AS held (subject, empty_at)
         SELECT $2::bytea, ",
    now!(),
    " + $6::bigint WHERE $2 IS NOT NULL AND NOT EXISTS (SELECT FROM known) ",
    fill!("$6::bigint", "$7::bigint"),
    "), account AS (
         INSERT INTO login_attempts AS held (subject, empty_at)
         SELECT $1::bytea, ",
    now!(),
    " + $4::bigint WHERE NOT EXISTS (SELECT FROM known) AND ($2 IS NULL OR EXISTS (SELECT FROM network)) ",
    fill!("$4::bigint", "$5::bigint"),
    "), known_address AS (
         INSERT INTO login_attempts AS held (subject, empty_at)
         SELECT $3, ",
    now!(),
    " + $8::bigint WHERE EXISTS (SELECT FROM known) ",
    fill!("$8::bigint", "$9::bigint"),
    ")
     SELECT subject, empty_at, ",
    now!(),
    " AS now FROM (SELECT * FROM network UNION ALL SELECT * FROM account UNION ALL SELECT * FROM known_address) AS filled"
);

const REFUND: &str = "UPDATE login_attempts SET empty_at = empty_at - $2::bigint WHERE subject = $1";

const REMEMBER: &str = concat!(
    "INSERT INTO known_addresses (subject, known_until) VALUES ($1, ",
    now!(),
    " + $2::bigint) ON CONFLICT (subject) DO UPDATE SET known_until = excluded.known_until"
);

/// Also what a clock wrote that was a day or more ahead. A row that is being filled is left alone.
const SWEEP: &str = concat!(
    "DELETE FROM login_attempts WHERE subject IN (
         SELECT subject FROM login_attempts WHERE empty_at <= ",
    now!(),
    " OR empty_at > ",
    now!(),
    " + 86400000 LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING 1"
);

const SWEEP_KNOWN: &str = concat!(
    "DELETE FROM known_addresses WHERE subject IN (
         SELECT subject FROM known_addresses WHERE known_until <= ",
    now!(),
    " LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING 1"
);

#[async_trait]
impl LoginAttempts for PostgresStore {
    async fn buckets(&self, subjects: &Subjects) -> Result<Vec<Bucket>, StoreError> {
        let rows = self.run(|| bind_subjects(LOOK, subjects)).await?.rows;
        buckets(&rows, subjects)
    }

    /// One that was committed without our knowing is counted twice: rather that than not at all.
    async fn reserve_attempt(&self, subjects: &Subjects) -> Result<Option<Vec<Bucket>>, StoreError> {
        let rows = self.run(|| bind_limits(bind_subjects(RESERVE, subjects))).await?.rows;
        let reserved = buckets(&rows, subjects)?;
        match (reserved.as_slice(), &subjects.network) {
            ([], _) => Ok(None),
            ([alone], Some(network)) if alone.counted == Counted::Network => {
                self.refund_attempt(network, Counted::Network).await?;
                Ok(None)
            }
            _ => Ok(Some(reserved)),
        }
    }

    /// Run once: a second run would give back what was never taken.
    async fn refund_attempt(&self, subject: &Subject, counted: Counted) -> Result<(), StoreError> {
        let refund = sqlx::query(REFUND).bind(subject.as_bytes()).bind(whole_millis(counted.limit().pace));
        self.run_once(refund).await.map(|_| ()).map_err(store_error)
    }

    async fn remember_address(&self, known_address: &Subject, life: Duration) -> Result<(), StoreError> {
        let remember = || sqlx::query(REMEMBER).bind(known_address.as_bytes()).bind(whole_millis(life));
        self.run(remember).await.map(|_| ())
    }
}

/// Deletes what counts for nothing any more.
pub(super) async fn sweep(store: &PostgresStore, most: u32) -> Result<usize, StoreError> {
    let most = i64::from(most);
    let buckets = store.run(|| sqlx::query(SWEEP).bind(most)).await?.rows.len();
    let known = store.run(|| sqlx::query(SWEEP_KNOWN).bind(most)).await?.rows.len();
    Ok(buckets.max(known))
}

fn bind_subjects<'q>(sql: &'static str, subjects: &'q Subjects) -> Statement<'q> {
    sqlx::query(sql)
        .bind(subjects.account.as_bytes())
        .bind(subjects.network.as_ref().map(Subject::as_bytes))
        .bind(subjects.known_address.as_bytes())
}

fn bind_limits(statement: Statement<'_>) -> Statement<'_> {
    [Counted::Account, Counted::Network, Counted::KnownAddress].into_iter().fold(statement, |statement, counted| {
        let limit = counted.limit();
        statement.bind(whole_millis(limit.pace)).bind(whole_millis(limit.size()))
    })
}
