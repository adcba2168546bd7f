//! The sweep of dead sessions in PostgreSQL; several servers may be about it at once.

use super::{PostgresStore, now};
use crate::domain::whole_millis;
use crate::ports::{StoreError, Sweep, Swept};
use crate::store::rows::swept_so_far;

/// Whether a session has been over for so many milliseconds: revoked, idle or at its absolute end, whichever came first.
/// That its user is disabled does not count, because that can be undone.
macro_rules! over {
    ($keep:literal) => {
        concat!("LEAST(idle_expires_at, absolute_expires_at, revoked_at) <= ", now!(), " - ", $keep, "::bigint")
    };
}

const LOOK: &str = concat!("SELECT id, ", over!("$3"), " AS over FROM sessions WHERE id > $1 ORDER BY id LIMIT $2");

/// Rows that another server holds are left to the next walk.
const DELETE: &str = concat!(
    "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE id > $1 AND id <= $2 AND ",
    over!("$3"),
    " FOR UPDATE SKIP LOCKED) RETURNING id"
);

/// Takes one step of the walk.
pub(super) async fn sweep(store: &PostgresStore, sweep: Sweep) -> Result<Swept, StoreError> {
    let after = sweep.after.map(|id| id.0.to_vec()).unwrap_or_default();
    let keep = whole_millis(sweep.keep);
    let look = || sqlx::query(LOOK).bind(&after).bind(i64::from(sweep.look_at)).bind(keep);
    let (last, any_over) = swept_so_far(&store.run(look).await?.rows)?;
    let deleted = match last {
        Some(last) if any_over => {
            let delete = || sqlx::query(DELETE).bind(&after).bind(last.0.to_vec()).bind(keep);
            store.run(delete).await?.rows.len()
        }
        _ => 0,
    };
    Ok(Swept { deleted, next: last })
}
