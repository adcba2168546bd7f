//! Sessions in SQLite: every change is one statement.
//!
//! A change that returns a row is read to its end (`fetch_all`, though there is one row at most): SQLite commits in the
//! step after the last row, and whoever stops at the first one never learns that the commit failed.

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{SqliteStore, now, store_error};
use crate::domain::{AttemptHash, Generation, SessionId, SessionState, UnixMillis, UserId, Username, whole_millis};
use crate::ports::{
    Epoch, LiveSession, NewSession, PasswordHash, PepperId, Reuse, Rotation, SessionRow, SessionStore, StoreError,
    StoredLogin,
};
use crate::store::corrupt;

/// The same conditions as `SessionState::ended`, where the row is changed.
macro_rules! live {
    () => {
        concat!(
            "revoked_at IS NULL AND idle_expires_at > ",
            now!(),
            " AND absolute_expires_at > ",
            now!(),
            " AND EXISTS (SELECT 1 FROM users WHERE users.id = sessions.user_id AND users.disabled_at IS NULL)"
        )
    };
}

pub(super) use live;

const LOGIN: &str = "SELECT id, password_hash, epoch FROM users WHERE name = ?1 AND disabled_at IS NULL";

const OPEN: &str = concat!(
    "INSERT INTO sessions (id, user_id, salt, pepper_id, generation, created_at, rotated_at, keyless,
                           idle_expires_at, absolute_expires_at)
     SELECT ?1, id, ?4, ?5, 0, ",
    now!(),
    ", ",
    now!(),
    ", 0, ",
    now!(),
    " + min(?6, ?7), ",
    now!(),
    " + ?7 FROM users WHERE id = ?2 AND epoch = ?3 AND disabled_at IS NULL
     RETURNING user_id, generation, created_at AS now, idle_expires_at"
);

const READ: &str = concat!(
    "SELECT sessions.*, ",
    now!(),
    " AS now, (SELECT disabled_at IS NULL FROM users WHERE users.id = sessions.user_id) AS user_enabled
     FROM sessions WHERE id = ?1"
);

const ROTATE: &str = concat!(
    "UPDATE sessions SET generation = ?2 + 1, rotated_at = ",
    now!(),
    ", keyless = ?4,
         attempt_1 = ?3, attempt_2 = attempt_1, attempt_3 = attempt_2, attempt_4 = attempt_3,
         idle_expires_at = min(",
    now!(),
    " + ?5, absolute_expires_at)
     WHERE id = ?1 AND generation <= ?2 AND ",
    live!(),
    " RETURNING user_id, generation, rotated_at AS now, idle_expires_at"
);

const REVOKE_REUSED: &str = concat!(
    "UPDATE sessions SET revoked_at = ",
    now!(),
    ", revoked_reason = 'reuse'
     WHERE id = ?1 AND generation > ?2
       AND NOT (generation = ?2 + 1 AND keyless AND ",
    now!(),
    " - rotated_at <= ?4)
       AND attempt_1 IS NOT ?3 AND attempt_2 IS NOT ?3 AND attempt_3 IS NOT ?3 AND attempt_4 IS NOT ?3
       AND ",
    live!()
);

const END: &str = concat!(
    "UPDATE sessions SET revoked_at = ",
    now!(),
    ", revoked_reason = 'logout' WHERE id = ?1 AND revoked_at IS NULL"
);

#[async_trait]
impl SessionStore for SqliteStore {
    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1 FROM sessions LIMIT 1").fetch_optional(&self.readers).await.map_err(store_error)?;
        // Takes the write lock and lets it go: a database that another process keeps locked can only be read.
        let transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(store_error)?;
        transaction.rollback().await.map_err(store_error)
    }

    async fn login(&self, name: &Username) -> Result<Option<StoredLogin>, StoreError> {
        let row = sqlx::query_as::<_, (i64, String, i64)>(LOGIN)
            .bind(name.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(store_error)?;
        Ok(row.map(|(id, hash, epoch)| StoredLogin {
            user_id: UserId(id),
            password_hash: PasswordHash(hash),
            epoch: Epoch(epoch),
        }))
    }

    async fn open_session(&self, session: NewSession) -> Result<Option<LiveSession>, StoreError> {
        let rows = sqlx::query(OPEN)
            .bind(session.id.0.as_slice())
            .bind(session.user_id.0)
            .bind(session.epoch.0)
            .bind(session.salt.as_slice())
            .bind(session.pepper_id.0)
            .bind(whole_millis(session.lifetimes.refresh))
            .bind(whole_millis(session.lifetimes.session))
            .fetch_all(&self.writer)
            .await
            .map_err(store_error)?;
        rows.first().map(live_session).transpose()
    }

    async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        let row = sqlx::query(READ).bind(id.0.as_slice()).fetch_optional(&self.readers).await.map_err(store_error)?;
        row.as_ref().map(session_row).transpose()
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Option<LiveSession>, StoreError> {
        let rows = sqlx::query(ROTATE)
            .bind(rotation.session.0.as_slice())
            .bind(rotation.presented.number())
            .bind(rotation.attempt.as_bytes())
            .bind(rotation.keyless)
            .bind(whole_millis(rotation.idle))
            .fetch_all(&self.writer)
            .await
            .map_err(store_error)?;
        rows.first().map(live_session).transpose()
    }

    async fn revoke_reused(&self, reuse: Reuse) -> Result<bool, StoreError> {
        let done = sqlx::query(REVOKE_REUSED)
            .bind(reuse.session.0.as_slice())
            .bind(reuse.presented.number())
            .bind(reuse.attempt.as_bytes())
            .bind(whole_millis(reuse.repeat_window))
            .execute(&self.writer)
            .await
            .map_err(store_error)?;
        Ok(done.rows_affected() == 1)
    }

    async fn end_session(&self, id: SessionId) -> Result<bool, StoreError> {
        let done = sqlx::query(END).bind(id.0.as_slice()).execute(&self.writer).await.map_err(store_error)?;
        Ok(done.rows_affected() == 1)
    }
}

fn live_session(row: &SqliteRow) -> Result<LiveSession, StoreError> {
    Ok(LiveSession {
        user_id: UserId(column(row, "user_id")?),
        generation: generation(row)?,
        now: UnixMillis(column(row, "now")?),
        idle_expires_at: UnixMillis(column(row, "idle_expires_at")?),
    })
}

fn session_row(row: &SqliteRow) -> Result<SessionRow, StoreError> {
    let mut attempts = Vec::with_capacity(4);
    for name in ["attempt_1", "attempt_2", "attempt_3", "attempt_4"] {
        if let Some(bytes) = column::<Option<Vec<u8>>>(row, name)? {
            let hash = AttemptHash::from_bytes(&bytes).ok_or_else(|| corrupt("attempt hash"))?;
            attempts.push(hash);
        }
    }
    Ok(SessionRow {
        user_id: UserId(column(row, "user_id")?),
        salt: column(row, "salt")?,
        pepper_id: PepperId(column(row, "pepper_id")?),
        state: SessionState {
            now: UnixMillis(column(row, "now")?),
            generation: generation(row)?,
            rotated_at: UnixMillis(column(row, "rotated_at")?),
            keyless: column(row, "keyless")?,
            attempts,
            idle_expires_at: UnixMillis(column(row, "idle_expires_at")?),
            absolute_expires_at: UnixMillis(column(row, "absolute_expires_at")?),
            revoked: column::<Option<i64>>(row, "revoked_at")?.is_some(),
            user_enabled: column(row, "user_enabled")?,
        },
    })
}

fn generation(row: &SqliteRow) -> Result<Generation, StoreError> {
    Generation::new(column(row, "generation")?).ok_or_else(|| corrupt("generation"))
}

fn column<'r, T>(row: &'r SqliteRow, name: &'static str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(name).map_err(store_error)
}
