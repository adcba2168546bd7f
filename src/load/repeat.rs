//! One request again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::time::timeout_at;

use super::{Job, Pace, Source};
use crate::session::Request;

/// A source of copies of one request, numbered from 0.
#[derive(Debug)]
pub struct Repeat {
    request: Arc<Request>,
    /// How many in all.
    requests: u64,
    /// After this time none is begun.
    until: Option<Instant>,
    pace: Option<Pace>,
    next: AtomicU64,
}

impl Repeat {
    /// `requests` copies, none of them begun after `until`; at `pace`, or as fast as they are taken.
    pub fn new(request: Request, requests: u64, until: Option<Instant>, pace: Option<Pace>) -> Self {
        Self { request: Arc::new(request), requests, until, pace, next: AtomicU64::new(0) }
    }

    /// Returns how many were due before the time was over, or before `end` if that was sooner, but never begun: all workers
    /// were busy, or had been stopped. `None` where none is ever due, because there is no pace.
    pub fn left_undone(&self, end: Instant) -> Option<u64> {
        let pace = self.pace.as_ref()?;
        let due = pace.due_before(self.until.map_or(end, |until| until.min(end))).min(self.requests);
        Some(due.saturating_sub(self.next.load(Ordering::Relaxed)))
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

impl Source for Repeat {
    type Tag = u64;

    async fn next(&self) -> Option<Job<u64>> {
        if let Some(pace) = &self.pace {
            match self.until {
                Some(until) => timeout_at(until.into(), pace.turn()).await.ok()?,
                None => pace.turn().await,
            }
        }
        if self.is_over() {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number.saturating_add(1) >= self.requests
            && let Some(pace) = &self.pace
        {
            // Nobody need wait for the time at which a request would be due that there is not.
            pace.finish();
        }
        if number >= self.requests {
            return None;
        }
        let due = self.pace.as_ref().map(|pace| pace.due_at(number));
        Some(Job { request: Arc::clone(&self.request), due, tag: number })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::Method;

    use super::*;

    fn request() -> Request {
        Request::new(Method::GET, "http://127.0.0.1:1/".parse().unwrap())
    }

    #[tokio::test]
    async fn as_many_as_asked_for_and_no_more() {
        let source = Repeat::new(request(), 3, None, None);
        let mut numbers = Vec::new();
        while let Some(job) = source.next().await {
            numbers.push(job.tag);
        }
        assert_eq!(numbers, [0, 1, 2]);
        assert!(source.next().await.is_none());
    }

    #[tokio::test]
    async fn none_is_begun_when_the_time_is_over() {
        let source = Repeat::new(request(), 3, Some(Instant::now()), None);
        assert!(source.next().await.is_none());
        // Nor does anybody wait for a turn that comes after it: the second is due in a hundred seconds.
        let until = Instant::now() + Duration::from_millis(20);
        let source = Repeat::new(request(), 3, Some(until), Some(Pace::start(0.01)));
        assert!(source.next().await.is_some());
        assert!(source.next().await.is_none());
    }

    #[tokio::test]
    async fn nobody_waits_for_a_turn_after_the_last_request() {
        let source = Arc::new(Repeat::new(request(), 1, None, Some(Pace::start(0.001))));
        let workers = (0..3).map(|_| {
            let source = Arc::clone(&source);
            tokio::spawn(async move { source.next().await.is_some() })
        });
        let workers: Vec<_> = workers.collect();
        let mut begun = 0;
        for worker in workers {
            let worker = tokio::time::timeout(Duration::from_secs(10), worker).await;
            begun += u32::from(worker.expect("nobody waits for a thousand seconds").unwrap());
        }
        assert_eq!(begun, 1);
    }

    #[tokio::test]
    async fn what_nobody_came_to_is_told() {
        let pace = Pace::start(1_000.0);
        let until = pace.due_at(10);
        let source = Repeat::new(request(), u64::MAX, Some(until), Some(pace));
        assert!(source.next().await.is_some());
        // The one worker is busy until the time is over.
        while Instant::now() < until {
            std::thread::yield_now();
        }
        assert!(source.next().await.is_none());
        assert_eq!(source.left_undone(Instant::now()), Some(9));
        assert_eq!(Repeat::new(request(), 3, None, None).left_undone(Instant::now()), None);
    }
}
