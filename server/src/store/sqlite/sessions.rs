//! Sessions in SQLite: every change is one statement, and returns the row that it changed.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;

use super::{SqliteStore, now, store_error};
use crate::domain::{SessionId, UserId, Username, whole_millis};
use crate::ports::{
    Epoch, LiveSession, NewSession, PasswordHash, Reuse, Rotation, SessionRow, SessionStore, StoreError, StoredLogin,
};
use crate::store::rows::{live_session, read_columns, session_row};

/// Whether a session has not come to its end by itself.
macro_rules! unexpired {
    () => {
        concat!(
            "idle_expires_at > ",
            $crate::store::sqlite::now!(),
            " AND absolute_expires_at > ",
            $crate::store::sqlite::now!()
        )
    };
}

pub(super) use unexpired;

/// The same conditions as `SessionState::ended`, where the row is changed.
macro_rules! live {
    () => {
        concat!(
            "revoked_at IS NULL AND ",
            $crate::store::sqlite::sessions::unexpired!(),
            " AND EXISTS (SELECT 1 FROM users WHERE users.id = sessions.user_id AND users.disabled_at IS NULL)"
        )
    };
}

pub(super) use live;

const LOGIN: &str = "SELECT id, password_hash, epoch FROM users WHERE name = ?1 AND disabled_at IS NULL";

const RENEW: &str =
    "UPDATE users SET password_hash = ?4 WHERE id = ?1 AND epoch = ?2 AND password_hash = ?3 RETURNING id";

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
    live!(),
    " RETURNING id"
);

const END: &str = concat!(
    "UPDATE sessions SET revoked_at = ",
    now!(),
    ", revoked_reason = 'logout' WHERE id = ?1 AND revoked_at IS NULL RETURNING id"
);

#[async_trait]
impl SessionStore for SqliteStore {
    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1 FROM sessions LIMIT 1").fetch_optional(&self.readers).await.map_err(store_error)?;
        if !self.changes.is_alive() {
            return Err(StoreError::Unavailable("the writer has ended".into()));
        }
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

    async fn renew_password_hash(&self, checked: &StoredLogin, renewed: &PasswordHash) -> Result<bool, StoreError> {
        let renew = sqlx::query(RENEW)
            .bind(checked.user_id.0)
            .bind(checked.epoch.0)
            .bind(checked.password_hash.0.clone())
            .bind(renewed.0.clone());
        Ok(!self.changes.write(renew).await?.is_empty())
    }

    async fn open_session(&self, session: NewSession) -> Result<Option<LiveSession>, StoreError> {
        let open = sqlx::query(OPEN)
            .bind(session.id.0.to_vec())
            .bind(session.user_id.0)
            .bind(session.epoch.0)
            .bind(session.salt.to_vec())
            .bind(session.pepper_id.0)
            .bind(whole_millis(session.lifetimes.refresh))
            .bind(whole_millis(session.lifetimes.session));
        let rows = self.changes.write(open).await?;
        rows.first().map(live_session).transpose()
    }

    async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        let row = sqlx::query(READ).bind(id.0.as_slice()).fetch_optional(&self.readers).await.map_err(store_error)?;
        row.as_ref().map(session_row).transpose()
    }

    async fn rotate(&self, rotation: Rotation) -> Result<Option<LiveSession>, StoreError> {
        let rotate = sqlx::query(ROTATE)
            .bind(rotation.session.0.to_vec())
            .bind(rotation.presented.number())
            .bind(rotation.attempt.as_bytes().to_vec())
            .bind(rotation.keyless)
            .bind(whole_millis(rotation.idle));
        let rows = self.changes.write(rotate).await?;
        rows.first().map(live_session).transpose()
    }

    async fn revoke_reused(&self, reuse: Reuse) -> Result<bool, StoreError> {
        let revoke = sqlx::query(REVOKE_REUSED)
            .bind(reuse.session.0.to_vec())
            .bind(reuse.presented.number())
            .bind(reuse.attempt.as_bytes().to_vec())
            .bind(whole_millis(reuse.repeat_window));
        Ok(!self.changes.write(revoke).await?.is_empty())
    }

    async fn end_session(&self, id: SessionId) -> Result<bool, StoreError> {
        Ok(!self.changes.write(sqlx::query(END).bind(id.0.to_vec())).await?.is_empty())
    }
}

read_columns!(SqliteRow, store_error);
