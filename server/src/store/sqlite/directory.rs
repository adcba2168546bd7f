//! The directory of sessions in SQLite.

use async_trait::async_trait;

use super::sessions::live;
use super::{SqliteStore, now, store_error};
use crate::domain::{SessionId, UnixMillis, UserId, Username};
use crate::ports::{SessionDirectory, SessionSelection, SessionSummary, StoreError};
use crate::store::corrupt;

const LIST: &str = concat!(
    "SELECT id, created_at, rotated_at, idle_expires_at FROM sessions WHERE user_id = ?1 AND ",
    live!(),
    " ORDER BY created_at DESC, id LIMIT ?2"
);

const REVOKE_OWN: &str = concat!(
    "UPDATE sessions SET revoked_at = ",
    now!(),
    ", revoked_reason = 'revoked by user' WHERE id = ?1 AND user_id = ?2 AND ",
    live!()
);

const REVOKE_SELECTED: &str = concat!(
    "UPDATE sessions SET revoked_at = ",
    now!(),
    ", revoked_reason = 'revoked by operator'
     WHERE (?1 IS NULL OR user_id = (SELECT id FROM users WHERE name = ?1))
       AND (?2 IS NULL OR id = ?2)
       AND (?3 IS NULL OR created_at < ?3)
       AND ",
    live!()
);

#[async_trait]
impl SessionDirectory for SqliteStore {
    async fn sessions_of(&self, user: UserId) -> Result<Vec<SessionSummary>, StoreError> {
        let rows = sqlx::query_as::<_, (Vec<u8>, i64, i64, i64)>(LIST)
            .bind(user.0)
            .bind(SessionSummary::MOST)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        let summary = |(id, created_at, refreshed_at, expires_at): (Vec<u8>, i64, i64, i64)| {
            Ok(SessionSummary {
                id: id.try_into().map(SessionId).map_err(|_| corrupt("session id"))?,
                created_at: UnixMillis(created_at),
                refreshed_at: UnixMillis(refreshed_at),
                expires_at: UnixMillis(expires_at),
            })
        };
        rows.into_iter().map(summary).collect()
    }

    async fn revoke_session_of(&self, user: UserId, id: SessionId) -> Result<bool, StoreError> {
        let done = sqlx::query(REVOKE_OWN)
            .bind(id.0.as_slice())
            .bind(user.0)
            .execute(&self.writer)
            .await
            .map_err(store_error)?;
        Ok(done.rows_affected() == 1)
    }

    async fn revoke_sessions(&self, selection: &SessionSelection) -> Result<u64, StoreError> {
        let done = sqlx::query(REVOKE_SELECTED)
            .bind(selection.user.as_ref().map(Username::as_str))
            .bind(selection.id.as_ref().map(|id| id.0.as_slice()))
            .bind(selection.opened_before.map(|before| before.0))
            .execute(&self.writer)
            .await
            .map_err(store_error)?;
        Ok(done.rows_affected())
    }
}
