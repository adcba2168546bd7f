//! What rows of any database say, read by the names of their columns.

use crate::domain::{AttemptHash, Bucket, Generation, SessionId, SessionState, Subjects, UnixMillis, UserId};
use crate::ports::{LiveSession, PepperId, SessionRow, StoreError};

/// A row whose columns are read by name.
pub(super) trait Columns {
    fn number(&self, name: &'static str) -> Result<i64, StoreError>;
    fn optional_number(&self, name: &'static str) -> Result<Option<i64>, StoreError>;
    fn flag(&self, name: &'static str) -> Result<bool, StoreError>;
    fn bytes(&self, name: &'static str) -> Result<Vec<u8>, StoreError>;
    fn optional_bytes(&self, name: &'static str) -> Result<Option<Vec<u8>>, StoreError>;
}

/// Reads the columns of a database's row; which types that database has, its own code knows.
macro_rules! read_columns {
    ($row:ty, $error:path) => {
        impl $crate::store::rows::Columns for $row {
            fn number(&self, name: &'static str) -> Result<i64, StoreError> {
                sqlx::Row::try_get(self, name).map_err($error)
            }
            fn optional_number(&self, name: &'static str) -> Result<Option<i64>, StoreError> {
                sqlx::Row::try_get(self, name).map_err($error)
            }
            fn flag(&self, name: &'static str) -> Result<bool, StoreError> {
                sqlx::Row::try_get(self, name).map_err($error)
            }
            fn bytes(&self, name: &'static str) -> Result<Vec<u8>, StoreError> {
                sqlx::Row::try_get(self, name).map_err($error)
            }
            fn optional_bytes(&self, name: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
                sqlx::Row::try_get(self, name).map_err($error)
            }
        }
    };
}
pub(super) use read_columns;

/// Reads what a rotation or a login returned.
pub(super) fn live_session(row: &impl Columns) -> Result<LiveSession, StoreError> {
    Ok(LiveSession {
        user_id: UserId(row.number("user_id")?),
        generation: generation(row)?,
        now: UnixMillis(row.number("now")?),
        idle_expires_at: UnixMillis(row.number("idle_expires_at")?),
    })
}

/// Reads a session as a decision needs it.
pub(super) fn session_row(row: &impl Columns) -> Result<SessionRow, StoreError> {
    let mut attempts = Vec::with_capacity(4);
    for name in ["attempt_1", "attempt_2", "attempt_3", "attempt_4"] {
        if let Some(bytes) = row.optional_bytes(name)? {
            let hash = AttemptHash::from_bytes(&bytes).ok_or_else(|| corrupt("attempt hash"))?;
            attempts.push(hash);
        }
    }
    Ok(SessionRow {
        user_id: UserId(row.number("user_id")?),
        salt: row.bytes("salt")?,
        pepper_id: PepperId(row.number("pepper_id")?),
        state: SessionState {
            now: UnixMillis(row.number("now")?),
            generation: generation(row)?,
            rotated_at: UnixMillis(row.number("rotated_at")?),
            keyless: row.flag("keyless")?,
            attempts,
            idle_expires_at: UnixMillis(row.number("idle_expires_at")?),
            absolute_expires_at: UnixMillis(row.number("absolute_expires_at")?),
            revoked: row.optional_number("revoked_at")?.is_some(),
            user_enabled: row.flag("user_enabled")?,
        },
    })
}

/// Reads what one step of a sweep looked at: the last session, if any, and whether any of them is to be deleted.
pub(super) fn swept_so_far(rows: &[impl Columns]) -> Result<(Option<SessionId>, bool), StoreError> {
    let Some(last) = rows.last() else {
        return Ok((None, false));
    };
    let id = last.bytes("id")?.try_into().map_err(|_| corrupt("session id"))?;
    let mut any_over = false;
    for row in rows {
        any_over |= row.flag("over")?;
    }
    Ok((Some(SessionId(id)), any_over))
}

/// Counts those of the sessions that an operator ended that lived until then.
pub(super) fn living(rows: &[impl Columns]) -> Result<u64, StoreError> {
    let mut count = 0;
    for row in rows {
        count += u64::from(row.flag("lived")?);
    }
    Ok(count)
}

/// Reads the buckets of an attempt.
pub(super) fn buckets(rows: &[impl Columns], subjects: &Subjects) -> Result<Vec<Bucket>, StoreError> {
    let mut buckets = Vec::with_capacity(rows.len());
    for row in rows {
        buckets.push(Bucket {
            counted: subjects.counted(&row.bytes("subject")?).ok_or_else(|| corrupt("subject"))?,
            empty_at: UnixMillis(row.number("empty_at")?),
            now: UnixMillis(row.number("now")?),
        });
    }
    Ok(buckets)
}

/// Maps what a row holds against the rules to an error that says so.
pub(super) fn corrupt(what: &'static str) -> StoreError {
    StoreError::Unexpected(what.into())
}

fn generation(row: &impl Columns) -> Result<Generation, StoreError> {
    Generation::new(row.number("generation")?).ok_or_else(|| corrupt("generation"))
}
