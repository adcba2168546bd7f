//! How old something is, sleep included: while a machine sleeps, the clock that programs measure by stands still on Linux, and
//! others go on ending sessions. (A host that freezes a guest stops all of its clocks: that nobody can see from within.)

use std::time::Duration;

use tokio::time::Instant;

/// A moment to count from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    at: Instant,
    /// What the clock said that goes on in sleep.
    awake_or_not: Duration,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { at: Instant::now(), awake_or_not: with_sleep() }
    }

    /// Returns how long ago it was.
    pub(super) fn elapsed(&self) -> Duration {
        self.at.elapsed().max(with_sleep().saturating_sub(self.awake_or_not))
    }

    /// Returns the moment as it looks after a sleep of this length.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn before_a_sleep_of(self, length: Duration) -> Self {
        Self { awake_or_not: self.awake_or_not.saturating_sub(length), ..self }
    }
}

#[cfg(target_os = "linux")]
fn with_sleep() -> Duration {
    use rustix::time::{ClockId, clock_gettime};

    // Out of range only for a machine that was started before time began.
    clock_gettime(ClockId::Boottime).try_into().unwrap_or_default()
}

/// On Windows the usual clock goes on in sleep; what others have is not at hand here.
#[cfg(not(target_os = "linux"))]
fn with_sleep() -> Duration {
    Duration::ZERO
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_that_was_slept_counts() {
        let moment = Moment::now();
        assert!(moment.elapsed() < Duration::from_mins(1));
        tokio::time::advance(Duration::from_mins(1)).await;
        assert!(moment.elapsed() >= Duration::from_mins(1), "awake");
        let hour = Duration::from_hours(1);
        // Where the machine itself is younger than that, all its life has passed.
        let slept = with_sleep().min(hour);
        assert!(moment.before_a_sleep_of(hour).elapsed() >= slept, "asleep");
    }
}
