//! The time that a request has in all.

use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::{Request, SendError};

/// When a request's time is over, and how long it was in all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    end: Instant,
    whole: Duration,
}

impl Deadline {
    /// The deadline of a request that begins now, if it has one: a time beyond the end of the clock is no bound.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let whole = request.timeout?;
        Some(Self { end: Instant::now().checked_add(whole)?, whole })
    }

    /// Returns how much of it is left.
    pub(super) fn left(self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Waits for `work`, but no longer.
    pub(super) async fn bound<T>(self, work: impl Future<Output = T>) -> Result<T, Elapsed> {
        timeout_at(self.end, work).await
    }

    /// Returns what is said when it is over and `origin` has not answered.
    pub(super) fn missed_by(self, origin: String) -> SendError {
        SendError::TimedOut { origin, bound: self.whole }
    }

    /// Returns `error` of a part, which had what was left of the whole's `deadline`, as one of the whole.
    pub(super) fn of_the_whole(deadline: Option<Self>, error: SendError) -> SendError {
        match (error, deadline) {
            (SendError::TimedOut { origin, .. }, Some(deadline)) => deadline.missed_by(origin),
            (error, _) => error,
        }
    }
}
