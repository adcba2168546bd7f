//! The directory of sessions in SQLite.

use async_trait::async_trait;

use super::sessions::live;
use super::steps::STEP;
use super::{SqliteStore, now, store_error};
use crate::domain::{SessionId, UnixMillis, UserId};
use crate::ports::{SessionDirectory, SessionSelection, SessionSummary, StoreError, UnfinishedRevocation};
use crate::store::corrupt;
use crate::store::rows::living;

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

/// Where the next step of a walk through all sessions ends.
const STEP_END: &str = "SELECT id FROM (SELECT id FROM sessions WHERE id > ?1 ORDER BY id LIMIT ?2)
    ORDER BY id DESC LIMIT 1";

/// The same through the sessions of one user.
const STEP_END_OF_USER: &str = "SELECT id FROM (SELECT id FROM sessions INDEXED BY sessions_by_user
        WHERE user_id = (SELECT id FROM users WHERE name = ?3) AND id > ?1 ORDER BY id LIMIT ?2)
    ORDER BY id DESC LIMIT 1";

/// Revokes those of some sessions that all other conditions hold for as well.
macro_rules! revoke {
    ($sessions:literal, $which:literal) => {
        concat!(
            "UPDATE ",
            $sessions,
            " SET revoked_at = ",
            now!(),
            ", revoked_reason = 'revoked by operator' WHERE ",
            $which,
            " AND (?3 IS NULL OR user_id = (SELECT id FROM users WHERE name = ?3))
              AND (?4 IS NULL OR created_at < ?4)
              AND ",
            live!(),
            " RETURNING 1 AS lived"
        )
    };
}

const REVOKE_ONE: &str = revoke!("sessions", "id = ?1 AND id = ?2");
const REVOKE_STEP: &str = revoke!("sessions", "id > ?1 AND id <= ?2");
const REVOKE_STEP_OF_USER: &str = revoke!(
    "sessions INDEXED BY sessions_by_user",
    "id > ?1 AND id <= ?2 AND user_id = (SELECT id FROM users WHERE name = ?3)"
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

    async fn revoke_sessions(&self, selection: &SessionSelection) -> Result<u64, UnfinishedRevocation> {
        let mut revoked = 0;
        UnfinishedRevocation::after(self.revoke_selected(selection, &mut revoked).await, revoked)?;
        Ok(revoked)
    }
}

impl SqliteStore {
    /// One session by its name, those of a user by the index of users, others in a walk through all of them.
    async fn revoke_selected(&self, selection: &SessionSelection, revoked: &mut u64) -> Result<(), StoreError> {
        let user = selection.user.as_ref().map(|user| user.as_str().to_owned());
        let before = selection.opened_before.map(|before| before.0);
        let revoke = |statement: &'static str, after: Vec<u8>, last: Vec<u8>| {
            sqlx::query(statement).bind(after).bind(last).bind(user.clone()).bind(before)
        };
        if let Some(id) = &selection.id {
            let one = revoke(REVOKE_ONE, id.0.to_vec(), id.0.to_vec());
            *revoked += living(&one.fetch_all(&self.writer).await.map_err(store_error)?)?;
            return Ok(());
        }
        let step_end = |after: Vec<u8>| match user.clone() {
            Some(user) => sqlx::query(STEP_END_OF_USER).bind(after).bind(STEP).bind(user),
            None => sqlx::query(STEP_END).bind(after).bind(STEP),
        };
        let step = if user.is_some() { REVOKE_STEP_OF_USER } else { REVOKE_STEP };
        self.in_steps(step_end, |after, last| revoke(step, after, last), revoked).await
    }
}
