//! How PostgreSQL forgets a pepper: its sessions in steps, then what is left in one transaction.

use super::PostgresStore;
use super::connection::Statement;
use super::keys::{ADD_FIRST_KEY, LOCK_KEYS, bound};
use super::steps::{LOOK, delete_sessions};
use crate::ports::{Forgotten, PepperId, SealedKey, StoreError};
use crate::store::rows::living;

const FIND: &str = "SELECT id FROM sessions WHERE pepper_id = $1 LIMIT $2";

/// Held to the end of the transaction: no session can be opened with a pepper that is about to go.
const LOCK_PEPPER: &str = "SELECT id FROM peppers WHERE id = $1 FOR UPDATE";

/// Removes a pepper and all that refers to it. What was revoked goes as well: a session that is not there counts as revoked.
pub(super) async fn forget(
    store: &PostgresStore,
    id: PepperId,
    key: Option<&SealedKey>,
) -> Result<Option<Forgotten>, StoreError> {
    let of_it = |statement: &'static str| -> Statement<'static> { sqlx::query(statement).bind(id.0) };
    let mut sessions = 0;
    let find = || of_it(FIND).bind(LOOK);
    let remove = |ids: Vec<Vec<u8>>| sqlx::query(delete_sessions!("id = ANY ($1)")).bind(ids);
    store.in_steps(find, remove, &mut sessions).await?;
    let mut transaction = store.begin().await?;
    // The keys first, as whoever adds one: the other way round two would wait for each other.
    transaction.execute(sqlx::query(LOCK_KEYS)).await?;
    if transaction.rows(of_it(LOCK_PEPPER)).await?.is_empty() {
        return Ok(None);
    }
    sessions += living(&transaction.rows(of_it(delete_sessions!("pepper_id = $1"))).await?)?;
    let keys = transaction.execute(of_it("DELETE FROM signing_keys WHERE pepper_id = $1")).await?;
    if let Some(key) = key {
        transaction.execute(bound(ADD_FIRST_KEY, key)).await?;
    }
    transaction.execute(of_it("DELETE FROM peppers WHERE id = $1")).await?;
    transaction.commit().await?;
    Ok(Some(Forgotten { sessions, keys }))
}
