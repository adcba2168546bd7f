//! The server's keys in PostgreSQL.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::connection::{Done, Statement};
use super::errors::store_error;
use super::sessions::unexpired;
use super::{PostgresStore, forget, now};
use crate::domain::{KeyId, KeyTimes, UnixMillis, whole_millis};
use crate::ports::{
    Forgotten, KeyList, KeyStore, KnownPepper, LiveSessions, PepperId, ScheduledKey, SealedKey, StoreError,
};
use crate::store::corrupt;

const KNOWN_PEPPERS: &str = "SELECT id, check_value, throttle_key FROM peppers ORDER BY id";

/// Of two servers that start at once with a new pepper each, one finds its number taken.
const ADD_PEPPER: &str = concat!(
    "INSERT INTO peppers (id, check_value, throttle_key, created_at) VALUES ($1, $2, $3, ",
    now!(),
    ") ON CONFLICT DO NOTHING RETURNING id"
);

/// What lives of a pepper. That a user is disabled does not count, because that can be undone.
macro_rules! of_pepper {
    ($what:literal) => {
        concat!("SELECT ", $what, " FROM sessions WHERE pepper_id = $1 AND revoked_at IS NULL AND ", unexpired!())
    };
}

const LIVE_OF_PEPPER: &str = of_pepper!("count(*) AS count, max(LEAST(idle_expires_at, absolute_expires_at)) AS until");

const ANY_LIVE_OF_PEPPER: &str = concat!(of_pepper!("1"), " LIMIT 1");

/// The clock comes along also where there is no key.
const SIGNING_KEYS: &str = concat!(
    "SELECT ",
    now!(),
    " AS now, kid, sealed, pepper_id, signs_from, longest_life
     FROM (SELECT 1) AS here LEFT JOIN signing_keys ON algorithm = 'EdDSA' ORDER BY signs_from, kid"
);

/// Held to the end of the transaction: of two servers or operators who look for a key at once, one sees the other's.
pub(super) const LOCK_KEYS: &str = "LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE";

const REMOVE_ALL_KEYS: &str = "DELETE FROM signing_keys";

pub(super) const ADD_FIRST_KEY: &str = concat!(
    "INSERT INTO signing_keys (kid, algorithm, sealed, pepper_id, created_at, signs_from, longest_life)
     SELECT $1, 'EdDSA', $2, $3, ",
    now!(),
    ", ",
    now!(),
    ", 0 WHERE NOT EXISTS (SELECT 1 FROM signing_keys)"
);

const ANNOUNCE_KEY: &str = concat!(
    "INSERT INTO signing_keys (kid, algorithm, sealed, pepper_id, created_at, signs_from, longest_life)
     SELECT $1, 'EdDSA', $2, $3, ",
    now!(),
    ", ",
    now!(),
    " + $4::bigint, 0 WHERE NOT EXISTS (SELECT 1 FROM signing_keys WHERE signs_from > ",
    now!(),
    ")"
);

const RAISE_LONGEST_LIFE: &str =
    "UPDATE signing_keys SET longest_life = GREATEST(longest_life, $2::bigint) WHERE kid = $1";

const REMOVE_KEY: &str = "DELETE FROM signing_keys WHERE kid = $1 RETURNING kid";

#[async_trait]
impl KeyStore for PostgresStore {
    async fn known_peppers(&self) -> Result<Vec<KnownPepper>, StoreError> {
        let rows = self.run(|| sqlx::query(KNOWN_PEPPERS)).await?.rows;
        rows.iter().map(known_pepper).collect::<Result<_, _>>().map_err(store_error)
    }

    async fn add_pepper(&self, pepper: &KnownPepper) -> Result<bool, StoreError> {
        let add = || sqlx::query(ADD_PEPPER).bind(pepper.id.0).bind(&pepper.check_value).bind(&pepper.throttle_key);
        Ok(!self.run(add).await?.rows.is_empty())
    }

    async fn pepper_has_live_sessions(&self, id: PepperId) -> Result<bool, StoreError> {
        Ok(!self.run(|| sqlx::query(ANY_LIVE_OF_PEPPER).bind(id.0)).await?.rows.is_empty())
    }

    async fn live_sessions_of_pepper(&self, id: PepperId) -> Result<LiveSessions, StoreError> {
        let rows = self.run(|| sqlx::query(LIVE_OF_PEPPER).bind(id.0)).await?.rows;
        let row = rows.first().ok_or_else(|| corrupt("no count of sessions"))?;
        let count: i64 = row.try_get("count").map_err(store_error)?;
        let until: Option<i64> = row.try_get("until").map_err(store_error)?;
        Ok(LiveSessions { count: count.unsigned_abs(), until: until.map(UnixMillis) })
    }

    async fn forget_pepper(&self, id: PepperId, key: Option<&SealedKey>) -> Result<Option<Forgotten>, StoreError> {
        forget::forget(self, id, key).await
    }

    async fn signing_keys(&self) -> Result<KeyList, StoreError> {
        let rows = self.run(|| sqlx::query(SIGNING_KEYS)).await?.rows;
        let clock = rows.first().ok_or_else(|| corrupt("no clock"))?;
        let now = UnixMillis(clock.try_get("now").map_err(store_error)?);
        let keys = rows.iter().filter_map(|row| scheduled_key(row).transpose()).collect::<Result<_, _>>()?;
        Ok(KeyList { now, keys })
    }

    async fn add_first_signing_key(&self, key: &SealedKey) -> Result<(), StoreError> {
        self.change_keys([bound(ADD_FIRST_KEY, key)]).await.map(|_| ())
    }

    async fn announce_signing_key(&self, key: &SealedKey, announcement: Duration) -> Result<bool, StoreError> {
        let announce = bound(ANNOUNCE_KEY, key).bind(whole_millis(announcement));
        Ok(self.change_keys([announce]).await? == 1)
    }

    async fn replace_signing_keys(&self, key: &SealedKey) -> Result<(), StoreError> {
        self.change_keys([sqlx::query(REMOVE_ALL_KEYS), bound(ADD_FIRST_KEY, key)]).await.map(|_| ())
    }

    async fn raise_longest_life(&self, id: &KeyId, life: Duration) -> Result<(), StoreError> {
        self.run(|| sqlx::query(RAISE_LONGEST_LIFE).bind(&id.0).bind(whole_millis(life))).await.map(|_| ())
    }

    async fn remove_signing_key(&self, id: &KeyId) -> Result<bool, StoreError> {
        let Done { rows, maybe_before } = self.run(|| sqlx::query(REMOVE_KEY).bind(&id.0)).await?;
        // Gone it is in any case; that an earlier run did it is more likely than that somebody else came between.
        Ok(!rows.is_empty() || maybe_before)
    }
}

impl PostgresStore {
    /// Makes changes of the list of keys one after the other, while nobody else does; returns how many rows the last one
    /// changed.
    async fn change_keys<'q>(
        &self,
        statements: impl IntoIterator<Item = Statement<'q>, IntoIter: Send> + Send,
    ) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        transaction.execute(sqlx::query(LOCK_KEYS)).await?;
        let mut changed = 0;
        for statement in statements {
            changed = transaction.execute(statement).await?;
        }
        transaction.commit().await?;
        Ok(changed)
    }
}

/// Returns the statement that adds `key`.
pub(super) fn bound<'q>(statement: &'static str, key: &'q SealedKey) -> Statement<'q> {
    sqlx::query(statement).bind(&key.id.0).bind(&key.sealed).bind(key.pepper_id.0)
}

fn known_pepper(row: &PgRow) -> Result<KnownPepper, sqlx::Error> {
    Ok(KnownPepper {
        id: PepperId(row.try_get("id")?),
        check_value: row.try_get("check_value")?,
        throttle_key: row.try_get("throttle_key")?,
    })
}

/// Reads a key; none from the row that is there for its clock alone.
fn scheduled_key(row: &PgRow) -> Result<Option<ScheduledKey>, StoreError> {
    let Some(kid) = row.try_get::<Option<String>, _>("kid").map_err(store_error)? else {
        return Ok(None);
    };
    let longest_life: i64 = row.try_get("longest_life").map_err(store_error)?;
    let millis = u64::try_from(longest_life).map_err(|_| corrupt("signing key"))?;
    let read = || {
        let key = SealedKey {
            id: KeyId(kid),
            sealed: row.try_get("sealed")?,
            pepper_id: PepperId(row.try_get("pepper_id")?),
        };
        let signs_from = UnixMillis(row.try_get("signs_from")?);
        let times = KeyTimes { signs_from, longest_life: Duration::from_millis(millis) };
        Ok(Some(ScheduledKey { key, times }))
    };
    read().map_err(store_error)
}
