//! A constant pace: when each request is due, whatever the ones before it do.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// How many may be due and not taken before the clock stops counting them one by one: who is that far behind finds the
/// next one due whenever it looks.
const BACKLOG: usize = 1_000;
const BACKLOG_PAUSE: Duration = Duration::from_millis(1);

/// Tells when requests are due at a constant rate.
///
/// The n-th is due n intervals after the start, so a stall delays none of those behind it: they are late, and are counted
/// from when they were due.
#[derive(Debug)]
pub struct Pace {
    start: Instant,
    interval: Duration,
    due: Arc<Semaphore>,
    /// Its end is the clock's.
    _clock: Sender<()>,
}

impl Pace {
    /// A pace of `rate` requests a second that starts now. The clock is a thread of its own, because the runtime's
    /// timers are good for whole milliseconds, and many answers are quicker than that.
    pub fn start(rate: f64) -> Self {
        let interval = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX);
        let (start, due) = (Instant::now(), Arc::new(Semaphore::new(0)));
        let (clock, over) = mpsc::channel();
        let permits = Arc::clone(&due);
        std::thread::spawn(move || {
            let mut next = Some(start);
            while let Some(at) = next {
                let mut wait = at.saturating_duration_since(Instant::now());
                if permits.is_closed() {
                    return;
                }
                if permits.available_permits() > BACKLOG {
                    wait = wait.max(BACKLOG_PAUSE);
                } else if wait.is_zero() {
                    permits.add_permits(1);
                    next = at.checked_add(interval);
                    continue;
                }
                if over.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        Self { start, interval, due, _clock: clock }
    }

    /// Waits until one more request is due, or until the pace is finished. The caller counts them, and knows from [`due_at`](Self::due_at) when this was.
    pub(super) async fn turn(&self) {
        if let Ok(permit) = self.due.acquire().await {
            permit.forget();
        }
    }

    /// Lets everybody who waits for a turn go: there is nothing left to be due.
    pub(super) fn finish(&self) {
        self.due.close();
    }

    /// Returns when request `number` is due, counted from 0.
    pub(super) fn due_at(&self, number: u64) -> Instant {
        let after = self.interval.as_secs_f64() * as_f64(number);
        Duration::try_from_secs_f64(after).ok().and_then(|after| self.start.checked_add(after)).unwrap_or(self.start)
    }

    /// Returns how many requests were due before `end`.
    pub(super) fn due_before(&self, end: Instant) -> u64 {
        let elapsed = end.saturating_duration_since(self.start).as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, cut off at the edge")]
        let due = (elapsed / self.interval.as_secs_f64()).ceil() as u64;
        due
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of requests beyond 2^53 does not occur")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_are_due_at_even_intervals_and_never_before_their_time() {
        let pace = Pace::start(1_000.0);
        for number in 0..50 {
            pace.turn().await;
            assert!(pace.due_at(number) <= Instant::now(), "{number}");
        }
        assert_eq!(pace.due_at(50) - pace.due_at(0), Duration::from_millis(50));
        assert_eq!(pace.due_before(pace.due_at(50)), 50);
    }

    #[tokio::test]
    async fn who_comes_late_finds_all_that_were_due() {
        let pace = Pace::start(100.0);
        // Not a turn is lost while nobody asks.
        while Instant::now() < pace.due_at(5) {
            std::thread::yield_now();
        }
        for _ in 0..5 {
            pace.turn().await;
        }
    }
}
