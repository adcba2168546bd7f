//! The directory of sessions in PostgreSQL.

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::connection::Done;
use super::errors::store_error;
use super::sessions::live;
use super::{PostgresStore, now};
use crate::domain::{SessionId, UnixMillis, UserId, Username};
use crate::ports::{SessionDirectory, SessionSelection, SessionSummary, StoreError};
use crate::store::corrupt;

const LIST: &str = concat!(
    "SELECT id, created_at, rotated_at, idle_expires_at FROM sessions WHERE user_id = $1 AND ",
    live!(),
    " ORDER BY created_at DESC, id LIMIT $2"
);

const REVOKE_OWN: &str = concat!(
    "UPDATE sessions SET revoked_at = ",
    now!(),
    ", revoked_reason = 'revoked by user' WHERE id = $1 AND user_id = $2 AND ",
    live!(),
    " RETURNING id"
);

const WAS_REVOKED: &str =
    "SELECT id FROM sessions WHERE id = $1 AND user_id = $2 AND revoked_reason = 'revoked by user'";

/// How many sessions one step of a walk looks at: few enough that nobody waits for it.
pub(super) const STEP: i64 = 1000;

/// Where the next step of a walk through all sessions ends.
pub(super) const STEP_END: &str = "SELECT id FROM (SELECT id FROM sessions WHERE id > $1 ORDER BY id LIMIT $2) AS step
    ORDER BY id DESC LIMIT 1";

const REVOKE_SELECTED: &str = concat!(
    "UPDATE sessions SET revoked_at = ",
    now!(),
    ", revoked_reason = 'revoked by operator'
     WHERE ($1::text IS NULL OR user_id = (SELECT id FROM users WHERE name = $1))
       AND ($2::bytea IS NULL OR id = $2)
       AND ($3::bigint IS NULL OR created_at < $3)
       AND id > $4 AND id <= $5
       AND ",
    live!(),
    " RETURNING id"
);

#[async_trait]
impl SessionDirectory for PostgresStore {
    async fn sessions_of(&self, user: UserId) -> Result<Vec<SessionSummary>, StoreError> {
        let rows = self.run(|| sqlx::query(LIST).bind(user.0).bind(SessionSummary::MOST)).await?.rows;
        rows.iter().map(summary).collect()
    }

    async fn revoke_session_of(&self, user: UserId, id: SessionId) -> Result<bool, StoreError> {
        let revoke = || sqlx::query(REVOKE_OWN).bind(id.0.as_slice()).bind(user.0);
        let Done { rows, maybe_before } = self.run(revoke).await?;
        if rows.is_empty() && maybe_before {
            let was = || sqlx::query(WAS_REVOKED).bind(id.0.as_slice()).bind(user.0);
            return Ok(!self.run(was).await?.rows.is_empty());
        }
        Ok(!rows.is_empty())
    }

    /// In steps, each of which is short: no row is locked for longer than a request waits for it, and however many
    /// sessions there are, no step takes as long as a statement may.
    ///
    /// Each step is run once: a second run would tell the operator a number that is too low.
    async fn revoke_sessions(&self, selection: &SessionSelection) -> Result<u64, StoreError> {
        let mut revoked = 0;
        let mut after: Vec<u8> = Vec::new();
        loop {
            let rows = self.run(|| sqlx::query(STEP_END).bind(&after).bind(STEP)).await?.rows;
            let Some(row) = rows.first() else { return Ok(revoked) };
            let last: Vec<u8> = row.try_get("id").map_err(store_error)?;
            let revoke = sqlx::query(REVOKE_SELECTED)
                .bind(selection.user.as_ref().map(Username::as_str))
                .bind(selection.id.as_ref().map(|id| id.0.as_slice()))
                .bind(selection.opened_before.map(|before| before.0))
                .bind(&after)
                .bind(&last);
            let done = self.run_once(revoke).await.map_err(store_error)?;
            revoked += u64::try_from(done.len()).unwrap_or(u64::MAX);
            after = last;
        }
    }
}

fn summary(row: &PgRow) -> Result<SessionSummary, StoreError> {
    let millis = |name| row.try_get(name).map(UnixMillis).map_err(store_error);
    let id: Vec<u8> = row.try_get("id").map_err(store_error)?;
    Ok(SessionSummary {
        id: id.try_into().map(SessionId).map_err(|_| corrupt("session id"))?,
        created_at: millis("created_at")?,
        refreshed_at: millis("rotated_at")?,
        expires_at: millis("idle_expires_at")?,
    })
}
