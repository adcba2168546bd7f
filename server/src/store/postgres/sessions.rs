//! Sessions in PostgreSQL: every change is one statement, and recognises what an earlier run of itself did.

use async_trait::async_trait;
use sqlx::postgres::PgRow;

use super::connection::Done;
use super::errors::store_error;
use super::{PostgresStore, now};
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
            $crate::store::postgres::now!(),
            " AND absolute_expires_at > ",
            $crate::store::postgres::now!()
        )
    };
}

pub(super) use unexpired;

/// The same conditions as `SessionState::ended`, where the row is changed.
macro_rules! live {
    () => {
        concat!(
            "revoked_at IS NULL AND ",
            $crate::store::postgres::sessions::unexpired!(),
            " AND EXISTS (SELECT 1 FROM users WHERE users.id = sessions.user_id AND users.disabled_at IS NULL)"
        )
    };
}

pub(super) use live;

/// Also tells whether this server could write: a standby after a failover cannot.
const PING: &str = "SELECT current_setting('transaction_read_only') = 'on' AS read_only
    FROM (SELECT 1) AS here LEFT JOIN (SELECT 1 FROM sessions LIMIT 1) AS sessions ON true";

const LOGIN: &str = "SELECT id, password_hash, epoch FROM users WHERE name = $1 AND disabled_at IS NULL";

const RENEW: &str =
    "UPDATE users SET password_hash = $4 WHERE id = $1 AND epoch = $2 AND password_hash = $3 RETURNING id";

/// The user's row is locked until the session is there: a change of the password either comes first, and then the epoch
/// is another, or comes later and sees the session.
///
/// Where an earlier run inserted the row, this one finds it and returns it; whose salt is another is another's.
const OPEN: &str = concat!(
    "INSERT INTO sessions (id, user_id, salt, pepper_id, generation, created_at, rotated_at, keyless,
                           idle_expires_at, absolute_expires_at)
     SELECT $1::bytea, id, $4::bytea, $5::bigint, 0, ",
    now!(),
    ", ",
    now!(),
    ", false, ",
    now!(),
    " + LEAST($6::bigint, $7::bigint), ",
    now!(),
    " + $7::bigint
     FROM users WHERE id = $2 AND epoch = $3 AND disabled_at IS NULL FOR SHARE
     ON CONFLICT (id) DO UPDATE SET salt = sessions.salt
         WHERE sessions.salt = excluded.salt AND sessions.user_id = excluded.user_id
     RETURNING user_id, generation, created_at AS now, idle_expires_at"
);

/// Columns by name: a newer server may add some while this one runs.
const READ: &str = concat!(
    "SELECT user_id, salt, pepper_id, generation, rotated_at, keyless, attempt_1, attempt_2, attempt_3, attempt_4,
         idle_expires_at, absolute_expires_at, revoked_at, ",
    now!(),
    " AS now, (SELECT disabled_at IS NULL FROM users WHERE users.id = sessions.user_id) AS user_enabled
     FROM sessions WHERE id = $1"
);

const ROTATE: &str = concat!(
    "UPDATE sessions SET generation = $2 + 1, rotated_at = ",
    now!(),
    ", keyless = $4,
         attempt_1 = $3, attempt_2 = attempt_1, attempt_3 = attempt_2, attempt_4 = attempt_3,
         idle_expires_at = LEAST(",
    now!(),
    " + $5::bigint, absolute_expires_at)
     WHERE id = $1 AND generation <= $2 AND ",
    live!(),
    " RETURNING user_id, generation, rotated_at AS now, idle_expires_at"
);

const REVOKE_REUSED: &str = concat!(
    "UPDATE sessions SET revoked_at = ",
    now!(),
    ", revoked_reason = 'reuse'
     WHERE id = $1 AND generation > $2
       AND NOT (generation = $2 + 1 AND keyless AND ",
    now!(),
    " - rotated_at <= $4::bigint)
       AND attempt_1 IS DISTINCT FROM $3 AND attempt_2 IS DISTINCT FROM $3
       AND attempt_3 IS DISTINCT FROM $3 AND attempt_4 IS DISTINCT FROM $3
       AND ",
    live!(),
    " RETURNING id"
);

const WAS_REVOKED_AS_REUSED: &str = "SELECT id FROM sessions WHERE id = $1 AND revoked_reason = 'reuse'";

const END: &str = concat!(
    "UPDATE sessions SET revoked_at = ",
    now!(),
    ", revoked_reason = 'logout' WHERE id = $1 AND revoked_at IS NULL RETURNING id"
);

#[async_trait]
impl SessionStore for PostgresStore {
    async fn ping(&self) -> Result<(), StoreError> {
        let rows = self.run(|| sqlx::query(PING)).await?.rows;
        match rows.first().map(|row| sqlx::Row::try_get::<bool, _>(row, "read_only")) {
            Some(Ok(true)) => Err(StoreError::Unavailable("the database can only be read".into())),
            Some(Err(error)) => Err(store_error(error)),
            Some(Ok(false)) | None => Ok(()),
        }
    }

    async fn login(&self, name: &Username) -> Result<Option<StoredLogin>, StoreError> {
        let rows = self.run(|| sqlx::query(LOGIN).bind(name.as_str())).await?.rows;
        rows.first().map(stored_login).transpose().map_err(store_error)
    }

    async fn renew_password_hash(&self, checked: &StoredLogin, renewed: &PasswordHash) -> Result<bool, StoreError> {
        let renew = || {
            sqlx::query(RENEW)
                .bind(checked.user_id.0)
                .bind(checked.epoch.0)
                .bind(&checked.password_hash.0)
                .bind(&renewed.0)
        };
        Ok(!self.run(renew).await?.rows.is_empty())
    }

    async fn open_session(&self, session: NewSession) -> Result<Option<LiveSession>, StoreError> {
        let open = || {
            sqlx::query(OPEN)
                .bind(session.id.0.as_slice())
                .bind(session.user_id.0)
                .bind(session.epoch.0)
                .bind(session.salt.as_slice())
                .bind(session.pepper_id.0)
                .bind(whole_millis(session.lifetimes.refresh))
                .bind(whole_millis(session.lifetimes.session))
        };
        self.run(open).await?.rows.first().map(live_session).transpose()
    }

    async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        let rows = self.run(|| sqlx::query(READ).bind(id.0.as_slice())).await?.rows;
        rows.first().map(session_row).transpose()
    }

    /// One that was committed without our knowing returns nothing when it is run again. The row then tells whose attempt
    /// it was.
    async fn rotate(&self, rotation: Rotation) -> Result<Option<LiveSession>, StoreError> {
        let rotate = || {
            sqlx::query(ROTATE)
                .bind(rotation.session.0.as_slice())
                .bind(rotation.presented.number())
                .bind(rotation.attempt.as_bytes())
                .bind(rotation.keyless)
                .bind(whole_millis(rotation.idle))
        };
        self.run(rotate).await?.rows.first().map(live_session).transpose()
    }

    async fn revoke_reused(&self, reuse: Reuse) -> Result<bool, StoreError> {
        let revoke = || {
            sqlx::query(REVOKE_REUSED)
                .bind(reuse.session.0.as_slice())
                .bind(reuse.presented.number())
                .bind(reuse.attempt.as_bytes())
                .bind(whole_millis(reuse.repeat_window))
        };
        let Done { rows, maybe_before } = self.run(revoke).await?;
        if rows.is_empty() && maybe_before {
            // Rather two alarms than none.
            let was = || sqlx::query(WAS_REVOKED_AS_REUSED).bind(reuse.session.0.as_slice());
            return Ok(!self.run(was).await?.rows.is_empty());
        }
        Ok(!rows.is_empty())
    }

    async fn end_session(&self, id: SessionId) -> Result<bool, StoreError> {
        Ok(!self.run(|| sqlx::query(END).bind(id.0.as_slice())).await?.rows.is_empty())
    }
}

fn stored_login(row: &PgRow) -> Result<StoredLogin, sqlx::Error> {
    use sqlx::Row as _;

    Ok(StoredLogin {
        user_id: UserId(row.try_get("id")?),
        password_hash: PasswordHash(row.try_get("password_hash")?),
        epoch: Epoch(row.try_get("epoch")?),
    })
}

read_columns!(PgRow, store_error);
