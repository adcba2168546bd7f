//! What happened when, in as much detail as the length of a run allows.

use std::time::Duration;

/// How many slots there are at most. When they are full, every two become one.
const SLOTS: usize = 1024;
const FIRST_WIDTH: Duration = Duration::from_micros(100);

/// Counts over time, of a run that nobody knows the length of.
#[derive(Clone, Debug)]
pub struct Timeline {
    width: Duration,
    slots: Vec<Slot>,
}

/// What happened within a piece of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// Requests that ended.
    pub ended: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// The longest that one of them took.
    pub slowest: Duration,
}

impl Slot {
    fn add(&mut self, other: Self) {
        self.ended += other.ended;
        self.failed += other.failed;
        self.slowest = self.slowest.max(other.slowest);
    }
}

impl Default for Timeline {
    fn default() -> Self {
        Self { width: FIRST_WIDTH, slots: Vec::new() }
    }
}

impl Timeline {
    /// Notes a request that ended at `at`, counted from the start.
    pub(super) fn add(&mut self, at: Duration, failed: bool, latency: Duration) {
        let mut place = self.place(at);
        while place >= SLOTS {
            self.halve();
            place = self.place(at);
        }
        if place >= self.slots.len() {
            self.slots.resize(place + 1, Slot::default());
        }
        self.slots[place].add(Slot { ended: 1, failed: u64::from(failed), slowest: latency });
    }

    fn place(&self, at: Duration) -> usize {
        usize::try_from(at.as_nanos() / self.width.as_nanos()).unwrap_or(usize::MAX)
    }

    fn halve(&mut self) {
        self.width = self.width.saturating_mul(2);
        let halves = self.slots.chunks(2).map(|pair| {
            let mut half = pair[0];
            pair.iter().skip(1).for_each(|slot| half.add(*slot));
            half
        });
        self.slots = halves.collect();
    }

    /// Returns the time from the start to `end` in `columns` equal pieces, or in fewer where it is too short for so many.
    pub fn columns(&self, end: Duration, columns: usize) -> Vec<Slot> {
        let count = columns.min(self.place(end) + 1).max(1);
        let mut pieces = vec![Slot::default(); count];
        for (place, slot) in (0_u32..).zip(&self.slots) {
            let middle = self.width * place + self.width / 2;
            pieces[Self::column(middle, end, count)].add(*slot);
        }
        pieces
    }

    /// Returns in which of `count` equal pieces of the time to `end` the time `at` lies.
    pub fn column(at: Duration, end: Duration, count: usize) -> usize {
        let scaled = at.as_nanos().saturating_mul(count as u128) / end.as_nanos().max(1);
        usize::try_from(scaled).unwrap_or(usize::MAX).min(count.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_is_told_in_coarser_slots_and_nothing_is_lost() {
        let mut timeline = Timeline::default();
        for second in 0..1_000_u64 {
            timeline.add(Duration::from_secs(second), second % 10 == 0, Duration::from_millis(second));
        }
        assert!(timeline.slots.len() <= SLOTS);
        let columns = timeline.columns(Duration::from_secs(1_000), 10);
        let ended: Vec<u64> = columns.iter().map(|slot| slot.ended).collect();
        assert_eq!(ended.iter().sum::<u64>(), 1_000);
        assert!(ended.iter().all(|count| (98..=102).contains(count)), "{ended:?}");
        assert_eq!(columns.iter().map(|slot| slot.failed).sum::<u64>(), 100);
        assert_eq!(columns[9].slowest, Duration::from_millis(999));
    }

    #[test]
    fn a_short_run_has_fewer_columns_than_asked_for() {
        let mut timeline = Timeline::default();
        timeline.add(Duration::from_micros(250), false, Duration::from_micros(250));
        let columns = timeline.columns(Duration::from_micros(300), 60);
        assert_eq!(columns.len(), 4);
        assert_eq!(columns.iter().map(|slot| slot.ended).sum::<u64>(), 1);
        assert_eq!(Timeline::default().columns(Duration::ZERO, 60), [Slot::default()]);
    }
}
