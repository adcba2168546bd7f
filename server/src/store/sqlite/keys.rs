//! The server's keys in SQLite.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::Sqlite;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;

use super::sessions::unexpired;
use super::{SqliteStore, forget, now, store_error};
use crate::domain::{KeyId, KeyTimes, UnixMillis, whole_millis};
use crate::ports::{
    Forgotten, KeyList, KeyStore, KnownPepper, LiveSessions, PepperId, ScheduledKey, SealedKey, StoreError,
};
use crate::store::corrupt;

const KNOWN_PEPPERS: &str = "SELECT id, check_value, throttle_key FROM peppers ORDER BY id";

const ADD_PEPPER: &str = concat!(
    "INSERT INTO peppers (id, check_value, throttle_key, created_at) VALUES (?1, ?2, ?3, ",
    now!(),
    ") ON CONFLICT DO NOTHING"
);

/// What lives of a pepper. That a user is disabled does not count, because that can be undone.
macro_rules! of_pepper {
    ($what:literal) => {
        concat!("SELECT ", $what, " FROM sessions WHERE pepper_id = ?1 AND revoked_at IS NULL AND ", unexpired!())
    };
}

const LIVE_OF_PEPPER: &str = of_pepper!("count(*), max(min(idle_expires_at, absolute_expires_at))");

const ANY_LIVE_OF_PEPPER: &str = concat!(of_pepper!("1"), " LIMIT 1");

/// The clock comes along also where there is no key.
const SIGNING_KEYS: &str = concat!(
    "SELECT ",
    now!(),
    " AS now, kid, sealed, pepper_id, signs_from, longest_life
     FROM (SELECT 1) LEFT JOIN signing_keys ON algorithm = 'EdDSA' ORDER BY signs_from, kid"
);

pub(super) const ADD_FIRST_KEY: &str = concat!(
    "INSERT INTO signing_keys (kid, algorithm, sealed, pepper_id, created_at, signs_from, longest_life)
     SELECT ?1, 'EdDSA', ?2, ?3, ",
    now!(),
    ", ",
    now!(),
    ", 0 WHERE NOT EXISTS (SELECT 1 FROM signing_keys)"
);

const ANNOUNCE_KEY: &str = concat!(
    "INSERT INTO signing_keys (kid, algorithm, sealed, pepper_id, created_at, signs_from, longest_life)
     SELECT ?1, 'EdDSA', ?2, ?3, ",
    now!(),
    ", ",
    now!(),
    " + ?4, 0 WHERE NOT EXISTS (SELECT 1 FROM signing_keys WHERE signs_from > ",
    now!(),
    ")"
);

const RAISE_LONGEST_LIFE: &str = "UPDATE signing_keys SET longest_life = max(longest_life, ?2) WHERE kid = ?1";

type KeyRow = (i64, Option<String>, Option<Vec<u8>>, Option<i64>, Option<i64>, Option<i64>);

#[async_trait]
impl KeyStore for SqliteStore {
    async fn known_peppers(&self) -> Result<Vec<KnownPepper>, StoreError> {
        let rows = sqlx::query_as::<_, (i64, Vec<u8>, Option<Vec<u8>>)>(KNOWN_PEPPERS)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        let known = |(id, check_value, throttle_key)| KnownPepper { id: PepperId(id), check_value, throttle_key };
        Ok(rows.into_iter().map(known).collect())
    }

    async fn add_pepper(&self, pepper: &KnownPepper) -> Result<bool, StoreError> {
        let done = sqlx::query(ADD_PEPPER)
            .bind(pepper.id.0)
            .bind(&pepper.check_value)
            .bind(&pepper.throttle_key)
            .execute(&self.writer)
            .await
            .map_err(store_error)?;
        Ok(done.rows_affected() == 1)
    }

    async fn pepper_has_live_sessions(&self, id: PepperId) -> Result<bool, StoreError> {
        let any = sqlx::query(ANY_LIVE_OF_PEPPER).bind(id.0).fetch_optional(&self.readers).await;
        Ok(any.map_err(store_error)?.is_some())
    }

    async fn live_sessions_of_pepper(&self, id: PepperId) -> Result<LiveSessions, StoreError> {
        let (count, until) = sqlx::query_as::<_, (i64, Option<i64>)>(LIVE_OF_PEPPER)
            .bind(id.0)
            .fetch_one(&self.readers)
            .await
            .map_err(store_error)?;
        Ok(LiveSessions { count: count.unsigned_abs(), until: until.map(UnixMillis) })
    }

    async fn forget_pepper(&self, id: PepperId, key: Option<&SealedKey>) -> Result<Option<Forgotten>, StoreError> {
        forget::forget(self, id, key).await
    }

    async fn signing_keys(&self) -> Result<KeyList, StoreError> {
        let rows = sqlx::query_as::<_, KeyRow>(SIGNING_KEYS).fetch_all(&self.readers).await.map_err(store_error)?;
        let now = rows.first().map(|row| UnixMillis(row.0)).ok_or_else(|| corrupt("no clock"))?;
        let keys = rows.into_iter().filter_map(scheduled_key).collect::<Result<_, _>>()?;
        Ok(KeyList { now, keys })
    }

    async fn add_first_signing_key(&self, key: &SealedKey) -> Result<(), StoreError> {
        bound(ADD_FIRST_KEY, key).execute(&self.writer).await.map_err(store_error)?;
        Ok(())
    }

    async fn announce_signing_key(&self, key: &SealedKey, announcement: Duration) -> Result<bool, StoreError> {
        let announce = bound(ANNOUNCE_KEY, key).bind(whole_millis(announcement));
        let done = announce.execute(&self.writer).await.map_err(store_error)?;
        Ok(done.rows_affected() == 1)
    }

    async fn replace_signing_keys(&self, key: &SealedKey) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(store_error)?;
        sqlx::query("DELETE FROM signing_keys").execute(&mut *transaction).await.map_err(store_error)?;
        bound(ADD_FIRST_KEY, key).execute(&mut *transaction).await.map_err(store_error)?;
        transaction.commit().await.map_err(store_error)
    }

    async fn raise_longest_life(&self, id: &KeyId, life: Duration) -> Result<(), StoreError> {
        sqlx::query(RAISE_LONGEST_LIFE)
            .bind(&id.0)
            .bind(whole_millis(life))
            .execute(&self.writer)
            .await
            .map_err(store_error)?;
        Ok(())
    }

    async fn remove_signing_key(&self, id: &KeyId) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM signing_keys WHERE kid = ?1")
            .bind(&id.0)
            .execute(&self.writer)
            .await
            .map_err(store_error)?;
        Ok(done.rows_affected() == 1)
    }
}

/// Reads a key; none from the row that is there for its clock alone.
fn scheduled_key(row: KeyRow) -> Option<Result<ScheduledKey, StoreError>> {
    let (_, kid, sealed, pepper_id, signs_from, longest_life) = row;
    let kid = kid?;
    let read = || {
        let millis = u64::try_from(longest_life?).ok()?;
        let key = SealedKey { id: KeyId(kid), sealed: sealed?, pepper_id: PepperId(pepper_id?) };
        let times = KeyTimes { signs_from: UnixMillis(signs_from?), longest_life: Duration::from_millis(millis) };
        Some(ScheduledKey { key, times })
    };
    Some(read().ok_or_else(|| corrupt("signing key")))
}

/// Returns the statement that adds `key`.
pub(super) fn bound<'q>(statement: &'static str, key: &'q SealedKey) -> Query<'q, Sqlite, SqliteArguments> {
    sqlx::query(statement).bind(&key.id.0).bind(&key.sealed).bind(key.pepper_id.0)
}
