//! Readiness: whether the database did its work a moment ago.
//!
//! Anybody may ask, and an answer takes the one connection that writes, or one of a few: so it is found out once for all
//! who ask at the same time, and where it is ready, again only a second later.

use std::future::Future;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Auth, InternalError};
use crate::ports::StoreError;

/// How long it counts as ready without another look.
const KEPT: Duration = Duration::from_secs(1);

/// What was found out last, and when. Locked while somebody finds it out.
#[derive(Debug, Default)]
pub(super) struct Readiness(Mutex<Option<(Instant, bool)>>);

impl Readiness {
    /// Answers by `look`, or by the look of somebody else. Only who looks gets the error, so it is logged once.
    async fn ask(&self, look: impl Future<Output = Result<(), StoreError>>) -> Result<bool, StoreError> {
        let asked = Instant::now();
        let mut last = self.0.lock().await;
        if let Some((when, ready)) = *last
            && (asked <= when || ready && when.elapsed() < KEPT)
        {
            return Ok(ready);
        }
        let outcome = look.await;
        *last = Some((Instant::now(), outcome.is_ok()));
        outcome.map(|()| true)
    }
}

impl Auth {
    /// Answers whether the database can be read and written to; of those who ask at the same time one gets the error.
    pub async fn is_ready(&self) -> Result<bool, InternalError> {
        Ok(self.readiness.ask(self.store.ping()).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::future::join_all;
    use tokio::time::{advance, sleep};

    use super::*;

    /// A database that takes a while, and counts how often it is looked at.
    #[derive(Default)]
    struct Database {
        looks: Cell<usize>,
        away: Cell<bool>,
    }

    impl Database {
        async fn ping(&self) -> Result<(), StoreError> {
            self.looks.set(self.looks.get() + 1);
            sleep(Duration::from_secs(5)).await;
            if self.away.get() { Err(StoreError::Unavailable("away".into())) } else { Ok(()) }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_at_once_or_soon_afterwards_shares_a_look() {
        let (readiness, database) = (Readiness::default(), Database::default());
        let ready = async || readiness.ask(database.ping()).await.unwrap();
        assert_eq!(join_all((0..100).map(|_| ready())).await, [true; 100]);
        assert_eq!(database.looks.get(), 1);
        advance(KEPT / 2).await;
        assert!(ready().await);
        assert_eq!(database.looks.get(), 1);
        advance(KEPT / 2).await;
        assert!(ready().await);
        assert_eq!(database.looks.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn that_it_is_away_is_told_to_those_who_asked_meanwhile_and_is_looked_at_again_by_others() {
        let (readiness, database) = (Readiness::default(), Database::default());
        database.away.set(true);
        let answers = join_all((0..100).map(|_| readiness.ask(database.ping()))).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 1);
        assert_eq!(answers.iter().filter(|answer| matches!(answer, Ok(false))).count(), 99);
        assert_eq!(database.looks.get(), 1);
        database.away.set(false);
        advance(Duration::from_millis(1)).await;
        assert!(readiness.ask(database.ping()).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_waiting_leaves_the_look_to_the_next() {
        let (readiness, database) = (Readiness::default(), Database::default());
        let given_up = tokio::time::timeout(Duration::from_secs(1), readiness.ask(database.ping())).await;
        assert!(given_up.is_err());
        assert!(readiness.ask(database.ping()).await.unwrap());
        assert_eq!(database.looks.get(), 2);
    }
}
