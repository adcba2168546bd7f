//! How SQLite forgets a pepper: all in one transaction.

use super::keys::{ADD_FIRST_KEY, LIVE_OF_PEPPER, bound};
use super::{SqliteStore, store_error};
use crate::ports::{Forgotten, PepperId, SealedKey, StoreError};

/// Removes a pepper and all that refers to it. What was revoked goes as well: a session that is not there counts as revoked.
pub(super) async fn forget(
    store: &SqliteStore,
    id: PepperId,
    key: Option<&SealedKey>,
) -> Result<Option<Forgotten>, StoreError> {
    let mut transaction = store.writer.begin_with("BEGIN IMMEDIATE").await.map_err(store_error)?;
    let (live, _) = sqlx::query_as::<_, (i64, Option<i64>)>(LIVE_OF_PEPPER)
        .bind(id.0)
        .fetch_one(&mut *transaction)
        .await
        .map_err(store_error)?;
    let mut removed = [0; 3];
    let statements = [
        "DELETE FROM sessions WHERE pepper_id = ?1",
        "DELETE FROM signing_keys WHERE pepper_id = ?1",
        "DELETE FROM peppers WHERE id = ?1",
    ];
    for (removed, statement) in removed.iter_mut().zip(statements) {
        let done = sqlx::query(statement).bind(id.0).execute(&mut *transaction).await.map_err(store_error)?;
        *removed = done.rows_affected();
    }
    let [_, keys, peppers] = removed;
    if peppers == 0 {
        return Ok(None);
    }
    if let Some(key) = key {
        bound(ADD_FIRST_KEY, key).execute(&mut *transaction).await.map_err(store_error)?;
    }
    transaction.commit().await.map_err(store_error)?;
    Ok(Some(Forgotten { sessions: live.unsigned_abs(), keys }))
}
