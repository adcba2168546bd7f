//! How PostgreSQL forgets a pepper: its sessions in steps, as they are revoked, then what is left in one transaction.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::directory::{STEP, STEP_END};
use super::errors::store_error;
use super::keys::{ADD_FIRST_KEY, LOCK_KEYS, bound};
use super::{PostgresStore, now};
use crate::ports::{Forgotten, PepperId, SealedKey, StoreError};

/// Removes sessions of a pepper, and tells of each whether it lived. A disabled user's counts, because that can be undone.
macro_rules! remove_sessions {
    ($among:literal) => {
        concat!(
            "DELETE FROM sessions WHERE pepper_id = $1",
            $among,
            " RETURNING revoked_at IS NULL AND idle_expires_at > ",
            now!(),
            " AND absolute_expires_at > ",
            now!(),
            " AS live"
        )
    };
}

const REMOVE_STEP: &str = remove_sessions!(" AND id > $2 AND id <= $3");
const REMOVE_REST: &str = remove_sessions!("");

/// Held to the end of the transaction: no session can be opened with a pepper that is about to go.
const LOCK_PEPPER: &str = "SELECT id FROM peppers WHERE id = $1 FOR UPDATE";

/// Removes a pepper and all that refers to it. What was revoked goes as well: a session that is not there counts as revoked.
pub(super) async fn forget(
    store: &PostgresStore,
    id: PepperId,
    key: Option<&SealedKey>,
) -> Result<Option<Forgotten>, StoreError> {
    let mut sessions = remove_in_steps(store, id).await?;
    let mut transaction = store.pool.begin().await.map_err(store_error)?;
    // The keys first, as whoever adds one: the other way round two would wait for each other.
    sqlx::query(LOCK_KEYS).execute(&mut *transaction).await.map_err(store_error)?;
    let pepper = sqlx::query(LOCK_PEPPER).bind(id.0).fetch_optional(&mut *transaction).await.map_err(store_error)?;
    if pepper.is_none() {
        return Ok(None);
    }
    let rest = sqlx::query(REMOVE_REST).bind(id.0).fetch_all(&mut *transaction).await.map_err(store_error)?;
    sessions += live(&rest)?;
    let remove_keys = sqlx::query("DELETE FROM signing_keys WHERE pepper_id = $1").bind(id.0);
    let keys = remove_keys.execute(&mut *transaction).await.map_err(store_error)?.rows_affected();
    if let Some(key) = key {
        bound(ADD_FIRST_KEY, key).execute(&mut *transaction).await.map_err(store_error)?;
    }
    let remove_pepper = sqlx::query("DELETE FROM peppers WHERE id = $1").bind(id.0);
    remove_pepper.execute(&mut *transaction).await.map_err(store_error)?;
    transaction.commit().await.map_err(store_error)?;
    Ok(Some(Forgotten { sessions, keys }))
}

/// However many sessions there are, no step takes as long as a statement may. Each is run once: a second run would tell a
/// number that is too low.
async fn remove_in_steps(store: &PostgresStore, id: PepperId) -> Result<u64, StoreError> {
    let mut removed = 0;
    let mut after: Vec<u8> = Vec::new();
    loop {
        let rows = store.run(|| sqlx::query(STEP_END).bind(&after).bind(STEP)).await?.rows;
        let Some(row) = rows.first() else { return Ok(removed) };
        let last: Vec<u8> = row.try_get("id").map_err(store_error)?;
        let remove = sqlx::query(REMOVE_STEP).bind(id.0).bind(&after).bind(&last);
        removed += live(&store.run_once(remove).await.map_err(store_error)?)?;
        after = last;
    }
}

fn live(rows: &[PgRow]) -> Result<u64, StoreError> {
    let mut live = 0;
    for row in rows {
        live += u64::from(row.try_get::<bool, _>("live").map_err(store_error)?);
    }
    Ok(live)
}
