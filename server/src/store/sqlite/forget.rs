//! How SQLite forgets a pepper: all in one transaction.

use super::keys::{ADD_FIRST_KEY, bound};
use super::steps::delete_sessions;
use super::{SqliteStore, store_error};
use crate::ports::{Forgotten, PepperId, SealedKey, StoreError};
use crate::store::rows::living;

/// Removes a pepper and all that refers to it. What was revoked goes as well: a session that is not there counts as revoked.
pub(super) async fn forget(
    store: &SqliteStore,
    id: PepperId,
    key: Option<&SealedKey>,
) -> Result<Option<Forgotten>, StoreError> {
    let of_it = |statement: &'static str| sqlx::query(statement).bind(id.0);
    let mut transaction = store.writer.begin_with("BEGIN IMMEDIATE").await.map_err(store_error)?;
    let sessions = of_it(delete_sessions!(" WHERE pepper_id = ?1")).fetch_all(&mut *transaction).await;
    let sessions = living(&sessions.map_err(store_error)?)?;
    let keys = of_it("DELETE FROM signing_keys WHERE pepper_id = ?1").execute(&mut *transaction).await;
    let keys = keys.map_err(store_error)?.rows_affected();
    let peppers = of_it("DELETE FROM peppers WHERE id = ?1").execute(&mut *transaction).await.map_err(store_error)?;
    if peppers.rows_affected() == 0 {
        return Ok(None);
    }
    if let Some(key) = key {
        bound(ADD_FIRST_KEY, key).execute(&mut *transaction).await.map_err(store_error)?;
    }
    transaction.commit().await.map_err(store_error)?;
    Ok(Some(Forgotten { sessions, keys }))
}
