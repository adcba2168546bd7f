//! Users in PostgreSQL. The operator's changes are made once: if it is unknown whether one was committed, the operator
//! is told that the database was away, and can look.

use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::QueryScalar;
use sqlx::{Postgres, Row as _};

use super::errors::store_error;
use super::{PostgresStore, now};
use crate::domain::{UnixMillis, UserId, Username};
use crate::ports::{PasswordHash, StoreError, UserRecord, UserStore};

const LIST: &str = "SELECT id, name, created_at, disabled_at IS NULL AS enabled FROM users ORDER BY id";

/// Not left to `ON CONFLICT` alone: a conflict would still use up a number.
const ADD: &str = concat!(
    "INSERT INTO users (id, name, password_hash, created_at)
     SELECT COALESCE($3::bigint, nextval(pg_get_serial_sequence('users', 'id'))), $1, $2, ",
    now!(),
    " WHERE NOT EXISTS (SELECT 1 FROM users WHERE name = $1 OR id = $3::bigint)
     ON CONFLICT DO NOTHING RETURNING id"
);

/// A number that was chosen is not given again, nor any below it.
const SKIP_NUMBERS: &str = "SELECT setval(pg_get_serial_sequence('users', 'id'),
    GREATEST($1, (SELECT last_value FROM pg_sequences
        WHERE format('%I.%I', schemaname, sequencename) = pg_get_serial_sequence('users', 'id'))))";

const SET_PASSWORD: &str = "UPDATE users SET password_hash = $2, epoch = epoch + 1 WHERE name = $1 RETURNING id";

const DISABLE: &str = concat!(
    "UPDATE users SET disabled_at = COALESCE(disabled_at, ",
    now!(),
    "), epoch = epoch + 1 WHERE name = $1 RETURNING id"
);

const ENABLE: &str = "UPDATE users SET disabled_at = NULL WHERE name = $1 RETURNING id";

const REVOKE_ALL: &str = concat!(
    "UPDATE sessions SET revoked_at = ",
    now!(),
    ", revoked_reason = $2 WHERE user_id = $1 AND revoked_at IS NULL"
);

#[async_trait]
impl UserStore for PostgresStore {
    async fn users(&self) -> Result<Vec<UserRecord>, StoreError> {
        let rows = self.run(|| sqlx::query(LIST)).await?.rows;
        rows.iter().map(user_record).collect::<Result<_, _>>().map_err(store_error)
    }

    async fn add_user(
        &self,
        name: &Username,
        password_hash: &PasswordHash,
        id: Option<UserId>,
    ) -> Result<Option<UserId>, StoreError> {
        let id = id.map(|id| id.0);
        let mut transaction = self.pool.begin().await.map_err(store_error)?;
        let added = sqlx::query_scalar::<_, i64>(ADD)
            .bind(name.as_str())
            .bind(&password_hash.0)
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(store_error)?;
        if let (Some(added), Some(_)) = (added, id) {
            sqlx::query(SKIP_NUMBERS).bind(added).execute(&mut *transaction).await.map_err(store_error)?;
        }
        transaction.commit().await.map_err(store_error)?;
        Ok(added.map(UserId))
    }

    /// The sessions go with the user, in the same statement: a session that is not there counts as revoked.
    async fn remove_user(&self, name: &Username) -> Result<bool, StoreError> {
        let remove = sqlx::query("DELETE FROM users WHERE name = $1 RETURNING id").bind(name.as_str());
        Ok(!self.run_once(remove).await.map_err(store_error)?.is_empty())
    }

    async fn set_password(&self, name: &Username, password_hash: &PasswordHash) -> Result<bool, StoreError> {
        let set = sqlx::query_scalar(SET_PASSWORD).bind(name.as_str()).bind(&password_hash.0);
        self.end_epoch(set, "password changed").await
    }

    async fn disable_user(&self, name: &Username) -> Result<bool, StoreError> {
        self.end_epoch(sqlx::query_scalar(DISABLE).bind(name.as_str()), "user disabled").await
    }

    async fn enable_user(&self, name: &Username) -> Result<bool, StoreError> {
        let enable = sqlx::query(ENABLE).bind(name.as_str());
        Ok(!self.run_once(enable).await.map_err(store_error)?.is_empty())
    }
}

impl PostgresStore {
    /// Runs a statement that bumps a user's epoch, and revokes the sessions of that user; answers whether there is one.
    ///
    /// Two statements: the second one sees the sessions that were opened until the first had locked the user's row.
    async fn end_epoch(
        &self,
        change: QueryScalar<'_, Postgres, i64, PgArguments>,
        reason: &'static str,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin().await.map_err(store_error)?;
        let Some(id) = change.fetch_optional(&mut *transaction).await.map_err(store_error)? else {
            return Ok(false);
        };
        sqlx::query(REVOKE_ALL).bind(id).bind(reason).execute(&mut *transaction).await.map_err(store_error)?;
        transaction.commit().await.map_err(store_error)?;
        Ok(true)
    }
}

fn user_record(row: &PgRow) -> Result<UserRecord, sqlx::Error> {
    Ok(UserRecord {
        id: UserId(row.try_get("id")?),
        name: row.try_get("name")?,
        created_at: UnixMillis(row.try_get("created_at")?),
        enabled: row.try_get("enabled")?,
    })
}
