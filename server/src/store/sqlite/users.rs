//! Users in SQLite.
//!
//! What ends a user's sessions ends most of them in steps before it, and those that were opened meanwhile with it: a
//! server that runs beside the operator must not wait for a lock that is held for all of them. If it fails between, that
//! user has to log in again, and nothing else has changed.

use async_trait::async_trait;
use sqlx::Sqlite;
use sqlx::query::QueryScalar;
use sqlx::sqlite::SqliteArguments;

use super::sessions::unexpired;
use super::steps::{STEP, delete_sessions};
use super::writer::Change;
use super::{SqliteStore, now, store_error};
use crate::domain::{UnixMillis, UserId, Username};
use crate::ports::{LoggedOut, PasswordHash, StoreError, UnfinishedRevocation, UserRecord, UserStore};
use crate::store::rows::living;

const LIST: &str = "SELECT id, name, created_at, disabled_at IS NULL FROM users ORDER BY id";

/// Not left to `ON CONFLICT` alone: a conflict would still use up a number.
const ADD: &str = concat!(
    "INSERT INTO users (id, name, password_hash, created_at) SELECT ?3, ?1, ?2, ",
    now!(),
    " WHERE NOT EXISTS (SELECT 1 FROM users WHERE name = ?1 OR id = ?3)
     ON CONFLICT DO NOTHING RETURNING id"
);

const SET_PASSWORD: &str = "UPDATE users SET password_hash = ?2, epoch = epoch + 1 WHERE name = ?1 RETURNING id";

const DISABLE: &str = concat!(
    "UPDATE users SET disabled_at = COALESCE(disabled_at, ",
    now!(),
    "), epoch = epoch + 1 WHERE name = ?1 RETURNING id"
);

const ENABLE: &str = "UPDATE users SET disabled_at = NULL WHERE name = ?1";

const ID: &str = "SELECT id FROM users WHERE name = ?1";

const HAS_USERS: &str = "SELECT EXISTS (SELECT 1 FROM users)";

const REMOVE: &str = "DELETE FROM users WHERE id = ?1";

/// Where the next step of a walk through the sessions of a user ends.
const STEP_END: &str = "SELECT id FROM (SELECT id FROM sessions INDEXED BY sessions_by_user
        WHERE user_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3)
    ORDER BY id DESC LIMIT 1";

/// Revokes sessions, and tells which of them had not come to their end by themselves. That their user is disabled does not
/// count, because that can be undone.
macro_rules! revoke {
    ($which:literal) => {
        concat!(
            "UPDATE sessions INDEXED BY sessions_by_user SET revoked_at = ",
            now!(),
            ", revoked_reason = ?1 WHERE ",
            $which,
            " AND revoked_at IS NULL RETURNING ",
            unexpired!(),
            " AS lived"
        )
    };
}

#[async_trait]
impl UserStore for SqliteStore {
    async fn users(&self) -> Result<Vec<UserRecord>, StoreError> {
        let rows =
            sqlx::query_as::<_, (i64, String, i64, bool)>(LIST).fetch_all(&self.readers).await.map_err(store_error)?;
        let record = |(id, name, created_at, enabled)| UserRecord {
            id: UserId(id),
            name,
            created_at: UnixMillis(created_at),
            enabled,
        };
        Ok(rows.into_iter().map(record).collect())
    }

    async fn has_users(&self) -> Result<bool, StoreError> {
        sqlx::query_scalar(HAS_USERS).fetch_one(&self.readers).await.map_err(store_error)
    }

    async fn user_id(&self, name: &Username) -> Result<Option<UserId>, StoreError> {
        let id = sqlx::query_scalar(ID).bind(name.as_str()).fetch_optional(&self.readers).await;
        id.map(|id| id.map(UserId)).map_err(store_error)
    }

    async fn add_user(
        &self,
        name: &Username,
        password_hash: &PasswordHash,
        id: Option<UserId>,
    ) -> Result<Option<UserId>, StoreError> {
        // To its end: the commit comes after the last row.
        let ids = sqlx::query_scalar::<_, i64>(ADD)
            .bind(name.as_str())
            .bind(&password_hash.0)
            .bind(id.map(|id| id.0))
            .fetch_all(&self.writer)
            .await
            .map_err(store_error)?;
        Ok(ids.first().copied().map(UserId))
    }

    async fn remove_user(&self, name: &Username) -> Result<Option<LoggedOut>, UnfinishedRevocation> {
        let mut sessions = 0;
        LoggedOut::after(self.remove(name, &mut sessions).await, sessions)
    }

    async fn set_password(
        &self,
        name: &Username,
        password_hash: &PasswordHash,
    ) -> Result<Option<LoggedOut>, UnfinishedRevocation> {
        let mut sessions = 0;
        let set = sqlx::query_scalar(SET_PASSWORD).bind(name.as_str()).bind(&password_hash.0);
        LoggedOut::after(self.end_epoch(name, set, "password changed", &mut sessions).await, sessions)
    }

    async fn disable_user(&self, name: &Username) -> Result<Option<LoggedOut>, UnfinishedRevocation> {
        let mut sessions = 0;
        let disable = sqlx::query_scalar(DISABLE).bind(name.as_str());
        LoggedOut::after(self.end_epoch(name, disable, "user disabled", &mut sessions).await, sessions)
    }

    async fn enable_user(&self, name: &Username) -> Result<bool, StoreError> {
        let done = sqlx::query(ENABLE).bind(name.as_str()).execute(&self.writer).await.map_err(store_error)?;
        Ok(done.rows_affected() == 1)
    }
}

impl SqliteStore {
    /// Removes a user with its sessions: one that is not there counts as revoked.
    async fn remove(&self, name: &Username, sessions: &mut u64) -> Result<Option<UserId>, StoreError> {
        let Some(user) = self.user_id(name).await? else { return Ok(None) };
        let delete = |after: Vec<u8>, last: Vec<u8>| {
            sqlx::query(delete_sessions!(" INDEXED BY sessions_by_user WHERE user_id = ?1 AND id > ?2 AND id <= ?3"))
                .bind(user.0)
                .bind(after)
                .bind(last)
        };
        self.in_steps(|after| step_end(after, user), delete, sessions).await?;
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(store_error)?;
        let removed = sqlx::query_scalar::<_, i64>(ID).bind(name.as_str());
        let removed = removed.fetch_optional(&mut *transaction).await.map_err(store_error)?;
        let mut rest = 0;
        if let Some(id) = removed {
            let delete = sqlx::query(delete_sessions!(" INDEXED BY sessions_by_user WHERE user_id = ?1")).bind(id);
            rest = living(&delete.fetch_all(&mut *transaction).await.map_err(store_error)?)?;
            sqlx::query(REMOVE).bind(id).execute(&mut *transaction).await.map_err(store_error)?;
        }
        transaction.commit().await.map_err(store_error)?;
        *sessions += rest;
        Ok(removed.map(UserId))
    }

    /// Revokes the sessions of a user, and runs a statement that bumps its epoch.
    async fn end_epoch(
        &self,
        name: &Username,
        change: QueryScalar<'_, Sqlite, i64, SqliteArguments>,
        reason: &'static str,
        sessions: &mut u64,
    ) -> Result<Option<UserId>, StoreError> {
        let Some(user) = self.user_id(name).await? else { return Ok(None) };
        let revoke = |after: Vec<u8>, last: Vec<u8>| {
            let revoke = sqlx::query(revoke!("user_id = ?2 AND id > ?3 AND id <= ?4"));
            revoke.bind(reason).bind(user.0).bind(after).bind(last)
        };
        self.in_steps(|after| step_end(after, user), revoke, sessions).await?;
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(store_error)?;
        let changed = change.fetch_optional(&mut *transaction).await.map_err(store_error)?;
        let mut rest = 0;
        if let Some(id) = changed {
            let revoke = sqlx::query(revoke!("user_id = ?2")).bind(reason).bind(id);
            rest = living(&revoke.fetch_all(&mut *transaction).await.map_err(store_error)?)?;
        }
        transaction.commit().await.map_err(store_error)?;
        *sessions += rest;
        Ok(changed.map(UserId))
    }
}

fn step_end(after: Vec<u8>, user: UserId) -> Change {
    sqlx::query(STEP_END).bind(user.0).bind(after).bind(STEP)
}
