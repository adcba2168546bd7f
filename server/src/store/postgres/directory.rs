//! The directory of sessions in PostgreSQL.

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::connection::Done;
use super::errors::store_error;
use super::sessions::live;
use super::steps::{LOOK, STEP};
use super::{PostgresStore, now};
use crate::domain::{SessionId, UnixMillis, UserId, Username};
use crate::ports::{SessionDirectory, SessionSelection, SessionSummary, StoreError, UnfinishedRevocation};
use crate::store::corrupt;
use crate::store::rows::living;

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

/// Where the next step of a walk through all sessions ends.
const STEP_END: &str = "SELECT id FROM (SELECT id FROM sessions WHERE id > $1 ORDER BY id LIMIT $2) AS step
    ORDER BY id DESC LIMIT 1";

const LIVE_OF_USER: &str = concat!(
    "SELECT id FROM sessions WHERE user_id = (SELECT id FROM users WHERE name = $1)
       AND ($2::bigint IS NULL OR created_at < $2)
       AND ",
    live!(),
    " LIMIT $3"
);

macro_rules! revoke {
    ($which:literal) => {
        concat!(
            "UPDATE sessions SET revoked_at = ",
            now!(),
            ", revoked_reason = 'revoked by operator' WHERE ",
            $which,
            " AND ",
            live!(),
            " RETURNING true AS lived"
        )
    };
}

const REVOKE_ONE: &str = revoke!(
    "id = $1 AND ($2::text IS NULL OR user_id = (SELECT id FROM users WHERE name = $2))
       AND ($3::bigint IS NULL OR created_at < $3)"
);

const REVOKE_STEP: &str = revoke!("id > $1 AND id <= $2 AND ($3::bigint IS NULL OR created_at < $3)");

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

    async fn revoke_sessions(&self, selection: &SessionSelection) -> Result<u64, UnfinishedRevocation> {
        let mut revoked = 0;
        UnfinishedRevocation::after(self.revoke_selected(selection, &mut revoked).await, revoked)?;
        Ok(revoked)
    }
}

impl PostgresStore {
    /// One session by its name, those of a user by the index of users, others in a walk through all of them.
    ///
    /// Each step is run once: a second run would tell the operator a number that is too low.
    async fn revoke_selected(&self, selection: &SessionSelection, revoked: &mut u64) -> Result<(), StoreError> {
        let user = selection.user.as_ref().map(Username::as_str);
        let before = selection.opened_before.map(|before| before.0);
        if let Some(id) = &selection.id {
            let revoke = sqlx::query(REVOKE_ONE).bind(id.0.as_slice()).bind(user).bind(before);
            *revoked += living(&self.run_once(revoke).await.map_err(store_error)?)?;
            return Ok(());
        }
        if let Some(user) = user {
            let find = || sqlx::query(LIVE_OF_USER).bind(user).bind(before).bind(LOOK);
            return self
                .in_steps(find, |ids: Vec<Vec<u8>>| sqlx::query(revoke!("id = ANY ($1)")).bind(ids), revoked)
                .await;
        }
        let mut after: Vec<u8> = Vec::new();
        loop {
            let step_end = || sqlx::query(STEP_END).bind(&after).bind(i64::from(STEP));
            let rows = self.run(step_end).await?.rows;
            let Some(row) = rows.first() else { return Ok(()) };
            let last: Vec<u8> = row.try_get("id").map_err(store_error)?;
            let revoke = sqlx::query(REVOKE_STEP).bind(&after).bind(&last).bind(before);
            *revoked += living(&self.run_once(revoke).await.map_err(store_error)?)?;
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
