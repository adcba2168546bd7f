//! Users in PostgreSQL. The operator's changes are made once: if it is unknown whether one was committed, the operator
//! is told so, and can look.
//!
//! What ends a user's sessions ends most of them in steps before it, and those that were opened meanwhile with it. So it
//! takes no longer than a statement may, and no request waits for it. If it fails between, that user has to log in again,
//! and nothing else has changed.

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::connection::Statement;
use super::errors::store_error;
use super::sessions::unexpired;
use super::steps::{LOOK, delete_sessions};
use super::{PostgresStore, now};
use crate::domain::{UnixMillis, UserId, Username};
use crate::ports::{LoggedOut, PasswordHash, StoreError, UnfinishedRevocation, UserRecord, UserStore};
use crate::store::rows::living;

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

const ID: &str = "SELECT id FROM users WHERE name = $1";

const HAS_USERS: &str = "SELECT EXISTS (SELECT FROM users) AS has_users";

/// No login opens a session of this user until the transaction is over.
const LOCK: &str = "SELECT id FROM users WHERE name = $1 FOR UPDATE";

const REMOVE: &str = "DELETE FROM users WHERE id = $1";

/// Revokes sessions, and tells which of them had not come to their end by themselves. That their user is disabled does not
/// count, because that can be undone.
macro_rules! revoke {
    ($which:literal) => {
        concat!(
            "UPDATE sessions SET revoked_at = ",
            now!(),
            ", revoked_reason = $2 WHERE ",
            $which,
            " AND revoked_at IS NULL RETURNING ",
            unexpired!(),
            " AS lived"
        )
    };
}

const FIND: &str = "SELECT id FROM sessions WHERE user_id = $1 LIMIT $2";
const FIND_UNREVOKED: &str = "SELECT id FROM sessions WHERE user_id = $1 AND revoked_at IS NULL LIMIT $2";

#[async_trait]
impl UserStore for PostgresStore {
    async fn users(&self) -> Result<Vec<UserRecord>, StoreError> {
        let rows = self.run(|| sqlx::query(LIST)).await?.rows;
        rows.iter().map(user_record).collect::<Result<_, _>>().map_err(store_error)
    }

    async fn has_users(&self) -> Result<bool, StoreError> {
        let rows = self.run(|| sqlx::query(HAS_USERS)).await?.rows;
        rows.first().map_or(Ok(false), |row| row.try_get("has_users")).map_err(store_error)
    }

    async fn user_id(&self, name: &Username) -> Result<Option<UserId>, StoreError> {
        first_id(&self.run(|| sqlx::query(ID).bind(name.as_str())).await?.rows)
    }

    async fn add_user(
        &self,
        name: &Username,
        password_hash: &PasswordHash,
        id: Option<UserId>,
    ) -> Result<Option<UserId>, StoreError> {
        let id = id.map(|id| id.0);
        let mut transaction = self.begin().await?;
        let add = sqlx::query(ADD).bind(name.as_str()).bind(&password_hash.0).bind(id);
        let added = first_id(&transaction.rows(add).await?)?;
        if let (Some(added), Some(_)) = (added, id) {
            transaction.rows(sqlx::query(SKIP_NUMBERS).bind(added.0)).await?;
        }
        transaction.commit().await?;
        Ok(added)
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
        let set = sqlx::query(SET_PASSWORD).bind(name.as_str()).bind(&password_hash.0);
        LoggedOut::after(self.end_epoch(name, set, "password changed", &mut sessions).await, sessions)
    }

    async fn disable_user(&self, name: &Username) -> Result<Option<LoggedOut>, UnfinishedRevocation> {
        let mut sessions = 0;
        let disable = sqlx::query(DISABLE).bind(name.as_str());
        LoggedOut::after(self.end_epoch(name, disable, "user disabled", &mut sessions).await, sessions)
    }

    async fn enable_user(&self, name: &Username) -> Result<bool, StoreError> {
        Ok(!self.run(|| sqlx::query(ENABLE).bind(name.as_str())).await?.rows.is_empty())
    }
}

impl PostgresStore {
    /// Removes a user with its sessions: one that is not there counts as revoked.
    async fn remove(&self, name: &Username, sessions: &mut u64) -> Result<Option<UserId>, StoreError> {
        let Some(user) = self.user_id(name).await? else { return Ok(None) };
        let find = || sqlx::query(FIND).bind(user.0).bind(LOOK);
        self.in_steps(find, |ids: Vec<Vec<u8>>| sqlx::query(delete_sessions!("id = ANY ($1)")).bind(ids), sessions)
            .await?;
        let mut transaction = self.begin().await?;
        let removed = first_id(&transaction.rows(sqlx::query(LOCK).bind(name.as_str())).await?)?;
        let mut rest = 0;
        if let Some(id) = removed {
            rest = living(&transaction.rows(sqlx::query(delete_sessions!("user_id = $1")).bind(id.0)).await?)?;
            transaction.execute(sqlx::query(REMOVE).bind(id.0)).await?;
        }
        transaction.commit().await?;
        *sessions += rest;
        Ok(removed)
    }

    /// Revokes the sessions of a user, and runs a statement that bumps its epoch.
    ///
    /// Two statements in the end: the second one sees the sessions that were opened until the first had locked the user's
    /// row.
    async fn end_epoch(
        &self,
        name: &Username,
        change: Statement<'_>,
        reason: &'static str,
        sessions: &mut u64,
    ) -> Result<Option<UserId>, StoreError> {
        let Some(user) = self.user_id(name).await? else { return Ok(None) };
        let find = || sqlx::query(FIND_UNREVOKED).bind(user.0).bind(LOOK);
        let revoke = |ids: Vec<Vec<u8>>| sqlx::query(revoke!("id = ANY ($1)")).bind(ids).bind(reason);
        self.in_steps(find, revoke, sessions).await?;
        let mut transaction = self.begin().await?;
        let changed = first_id(&transaction.rows(change).await?)?;
        let mut rest = 0;
        if let Some(id) = changed {
            let revoke = sqlx::query(revoke!("user_id = $1")).bind(id.0).bind(reason);
            rest = living(&transaction.rows(revoke).await?)?;
        }
        transaction.commit().await?;
        *sessions += rest;
        Ok(changed)
    }
}

/// Reads the number of the user that a statement returned, if it did.
fn first_id(rows: &[PgRow]) -> Result<Option<UserId>, StoreError> {
    rows.first().map(|row| row.try_get("id").map(UserId)).transpose().map_err(store_error)
}

fn user_record(row: &PgRow) -> Result<UserRecord, sqlx::Error> {
    Ok(UserRecord {
        id: UserId(row.try_get("id")?),
        name: row.try_get("name")?,
        created_at: UnixMillis(row.try_get("created_at")?),
        enabled: row.try_get("enabled")?,
    })
}
