//! The sweep of dead sessions in SQLite: readers look, and the writer is asked only where there is something to delete.

use super::{SqliteStore, now, store_error};
use crate::domain::whole_millis;
use crate::ports::{StoreError, Sweep, Swept};
use crate::store::rows::swept_so_far;

/// Whether a session has been over for `?N` milliseconds: revoked, idle or at its absolute end, whichever came first. That
/// its user is disabled does not count, because that can be undone.
macro_rules! over {
    ($keep:literal) => {
        concat!(
            "min(idle_expires_at, absolute_expires_at, ifnull(revoked_at, idle_expires_at)) <= ",
            now!(),
            " - ",
            $keep
        )
    };
}

const LOOK: &str = concat!("SELECT id, ", over!("?3"), " AS over FROM sessions WHERE id > ?1 ORDER BY id LIMIT ?2");

const DELETE: &str = concat!("DELETE FROM sessions WHERE id > ?1 AND id <= ?2 AND ", over!("?3"), " RETURNING id");

/// Takes one step of the walk.
pub(super) async fn sweep(store: &SqliteStore, sweep: Sweep) -> Result<Swept, StoreError> {
    let after = sweep.after.map(|id| id.0.to_vec()).unwrap_or_default();
    let keep = whole_millis(sweep.keep);
    let seen = sqlx::query(LOOK)
        .bind(after.clone())
        .bind(sweep.look_at)
        .bind(keep)
        .fetch_all(&store.readers)
        .await
        .map_err(store_error)?;
    let (last, any_over) = swept_so_far(&seen)?;
    let deleted = match last {
        Some(last) if any_over => {
            let delete = sqlx::query(DELETE).bind(after).bind(last.0.to_vec()).bind(keep);
            store.changes.write(delete).await?.len()
        }
        _ => 0,
    };
    Ok(Swept { deleted, next: last })
}
