//! Changes of many sessions, a few at a time.
//!
//! Each step is short: no row is locked for longer than a request waits for it, and however many sessions there are, no
//! step takes as long as a statement may. Of a change that fails, the steps before it stay done.

use sqlx::Row as _;

use super::PostgresStore;
use super::connection::Statement;
use super::errors::store_error;
use crate::ports::StoreError;
use crate::store::rows::living;

/// How many sessions one step looks at or changes: few enough that nobody waits for it.
pub(super) const STEP: u16 = 1000;

/// How many sessions are looked up at once. Looking them up passes those that are over by then, so it is done seldom.
pub(super) const LOOK: i64 = 10_000;

/// Deletes sessions, and tells of each whether it lived. A disabled user's counts, because that can be undone.
macro_rules! delete_sessions {
    ($which:literal) => {
        concat!(
            "DELETE FROM sessions WHERE ",
            $which,
            " RETURNING revoked_at IS NULL AND ",
            $crate::store::postgres::sessions::unexpired!(),
            " AS lived"
        )
    };
}

pub(super) use delete_sessions;

impl PostgresStore {
    /// Changes the sessions that `find` finds, until there is none; adds to `ended` those that lived until then.
    ///
    /// `find` returns [`LOOK`] ids at most, and none of a session that is changed. Each step is run once: a second run would
    /// tell the operator a number that is too low.
    pub(super) async fn in_steps<'f>(
        &self,
        find: impl Fn() -> Statement<'f> + Send + Sync,
        change: impl Fn(Vec<Vec<u8>>) -> Statement<'f> + Send + Sync,
        ended: &mut u64,
    ) -> Result<(), StoreError> {
        loop {
            let found = self.run(&find).await?.rows;
            let ids: Result<Vec<Vec<u8>>, _> = found.iter().map(|row| row.try_get("id")).collect();
            for ids in ids.map_err(store_error)?.chunks(usize::from(STEP)) {
                *ended += living(&self.run_once(change(ids.to_vec())).await.map_err(store_error)?)?;
            }
            if i64::try_from(found.len()).unwrap_or(i64::MAX) < LOOK {
                return Ok(());
            }
        }
    }
}
