//! Users in SQLite.

use async_trait::async_trait;
use sqlx::Sqlite;
use sqlx::query::QueryScalar;
use sqlx::sqlite::SqliteArguments;

use super::{SqliteStore, now, store_error};
use crate::domain::{UnixMillis, UserId, Username};
use crate::ports::{PasswordHash, StoreError, UserRecord, UserStore};

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

const REVOKE_ALL: &str = concat!(
    "UPDATE sessions SET revoked_at = ",
    now!(),
    ", revoked_reason = ?2 WHERE user_id = ?1 AND revoked_at IS NULL"
);

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

    /// The sessions go with the user, in the same statement: a session that is not there counts as revoked.
    async fn remove_user(&self, name: &Username) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM users WHERE name = ?1")
            .bind(name.as_str())
            .execute(&self.writer)
            .await
            .map_err(store_error)?;
        Ok(done.rows_affected() == 1)
    }

    async fn set_password(&self, name: &Username, password_hash: &PasswordHash) -> Result<bool, StoreError> {
        let set = sqlx::query_scalar(SET_PASSWORD).bind(name.as_str()).bind(&password_hash.0);
        self.end_epoch(set, "password changed").await
    }

    async fn disable_user(&self, name: &Username) -> Result<bool, StoreError> {
        self.end_epoch(sqlx::query_scalar(DISABLE).bind(name.as_str()), "user disabled").await
    }

    async fn enable_user(&self, name: &Username) -> Result<bool, StoreError> {
        let done = sqlx::query(ENABLE).bind(name.as_str()).execute(&self.writer).await.map_err(store_error)?;
        Ok(done.rows_affected() == 1)
    }
}

impl SqliteStore {
    /// Runs a statement that bumps a user's epoch, and revokes the sessions of that user; answers whether there is one.
    async fn end_epoch(
        &self,
        change: QueryScalar<'_, Sqlite, i64, SqliteArguments>,
        reason: &'static str,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(store_error)?;
        let Some(id) = change.fetch_optional(&mut *transaction).await.map_err(store_error)? else {
            return Ok(false);
        };
        sqlx::query(REVOKE_ALL).bind(id).bind(reason).execute(&mut *transaction).await.map_err(store_error)?;
        transaction.commit().await.map_err(store_error)?;
        Ok(true)
    }
}
