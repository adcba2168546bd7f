//! A progress bar on standard error, where a person watches it.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{MissedTickBehavior, interval};

const TICK: Duration = Duration::from_millis(100);
/// Over which time the rate is told: long enough to be read, short enough to show a stall.
const RATE_OVER: u32 = 10;

/// Shows how far a burst is. Goes away when it is dropped, so what follows stands on a clean line.
pub(crate) struct Progress {
    bar: ProgressBar,
    whole: Whole,
}

/// What a burst is measured by.
#[derive(Clone, Copy)]
pub(crate) enum Whole {
    Requests(u64),
    Time(Duration),
}

impl Progress {
    /// Draws nothing unless somebody is `watching`.
    pub(crate) fn new(watching: bool, whole: Whole) -> Self {
        let target = if watching { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let (length, template) = match whole {
            Whole::Requests(requests) => (requests, "{wide_bar} {pos}/{len} {msg} {elapsed}"),
            Whole::Time(time) => (milliseconds(time), "{wide_bar} {msg} {elapsed}"),
        };
        let bar = ProgressBar::with_draw_target(Some(length), target);
        // Fails only on a template that is not one.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, whole }
    }

    /// Shows what `look` sees (done, failed, refreshes) again and again, until it is dropped.
    pub(crate) async fn follow(&self, look: impl Fn() -> (u64, u64, u64)) -> Infallible {
        if self.bar.is_hidden() {
            return std::future::pending().await;
        }
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (start, mut looks) = (Instant::now(), std::collections::VecDeque::new());
        loop {
            let now = ticks.tick().await.into_std();
            let (done, failed, refreshes) = look();
            looks.push_back((now, done));
            if looks.len() > RATE_OVER as usize {
                looks.pop_front();
            }
            let (since, before) = looks.front().copied().unwrap_or((start, 0));
            let told = format!(
                "{}/s, {failed} failed, {refreshes} refreshed",
                per_second(done - before, now.saturating_duration_since(since)),
            );
            match self.whole {
                Whole::Requests(_) => {
                    self.bar.set_position(done);
                    self.bar.set_message(told);
                }
                Whole::Time(_) => {
                    self.bar.set_position(milliseconds(start.elapsed()));
                    self.bar.set_message(format!("{done} done, {told}"));
                }
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn per_second(count: u64, time: Duration) -> u64 {
    let nanoseconds = time.as_nanos().max(1);
    u64::try_from(u128::from(count) * 1_000_000_000 / nanoseconds).unwrap_or(u64::MAX)
}
