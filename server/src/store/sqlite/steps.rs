//! Changes of many sessions, a few at a time, for operators beside a running server.
//!
//! A step holds the file's one lock for writers. The server waits for that lock in a busy handler that only looks now and
//! then, so a step is short, and the pause after it as long: whenever the server looks, it has an even chance.

use std::time::Duration;

use sqlx::Row as _;
use tokio::time::{Instant, sleep};

use super::writer::Change;
use super::{SqliteStore, store_error};
use crate::ports::StoreError;
use crate::store::rows::living;

/// How many sessions one step looks at.
pub(super) const STEP: i64 = 500;
/// The shortest pause: longer than a change of the server takes.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

/// Deletes sessions, and tells of each whether it lived. A disabled user's counts, because that can be undone.
macro_rules! delete_sessions {
    ($which:literal) => {
        concat!(
            "DELETE FROM sessions",
            $which,
            " RETURNING revoked_at IS NULL AND ",
            $crate::store::sqlite::sessions::unexpired!(),
            " AS lived"
        )
    };
}

pub(super) use delete_sessions;

impl SqliteStore {
    /// Walks through sessions by their ids, and adds those that lived until their step to `ended`.
    ///
    /// `step_end` looks up where the step ends that begins after an id; `change` changes what lies after its first id up to
    /// its second.
    pub(super) async fn in_steps(
        &self,
        step_end: impl Fn(Vec<u8>) -> Change + Send + Sync,
        change: impl Fn(Vec<u8>, Vec<u8>) -> Change + Send + Sync,
        ended: &mut u64,
    ) -> Result<(), StoreError> {
        let mut after: Vec<u8> = Vec::new();
        loop {
            let end = step_end(after.clone()).fetch_optional(&self.readers).await.map_err(store_error)?;
            let Some(end) = end else { return Ok(()) };
            let last: Vec<u8> = end.try_get("id").map_err(store_error)?;
            let began = Instant::now();
            // To its end: the commit comes after the last row.
            let changed = change(after, last.clone()).fetch_all(&self.writer).await.map_err(store_error)?;
            *ended += living(&changed)?;
            after = last;
            sleep(began.elapsed().max(SHORTEST_PAUSE)).await;
        }
    }
}
