//! Latencies sorted into a few round steps, for people to look at.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Requests that took so long at most, and longer than those of the bucket before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The longest.
    pub up_to: Duration,
    /// How many.
    pub count: u64,
}

/// As many rows as can be taken in at a glance.
const MOST_BUCKETS: usize = 14;
/// The steps of a decade, the finest first, in tens of microseconds.
const STEPS: [&[u64]; 3] = [&[10, 15, 20, 30, 50, 70], &[10, 20, 50], &[10]];

/// Sorts `latencies`, which are microseconds, into buckets from the quickest to the slowest, with no gaps.
pub(super) fn buckets(latencies: &Histogram<u64>) -> Vec<Bucket> {
    if latencies.is_empty() {
        return Vec::new();
    }
    let mut buckets: Vec<Bucket> = edges(latencies.min(), latencies.max())
        .into_iter()
        .map(|edge| Bucket { up_to: Duration::from_micros(edge), count: 0 })
        .collect();
    for recorded in latencies.iter_recorded() {
        let value = Duration::from_micros(recorded.value_iterated_to());
        let place = buckets.partition_point(|bucket| bucket.up_to < value).min(buckets.len() - 1);
        buckets[place].count += recorded.count_at_value();
    }
    buckets
}

/// Returns the edges of the finest buckets that are few enough: the first holds `min`, the last `max`.
fn edges(min: u64, max: u64) -> Vec<u64> {
    let mut edges = Vec::new();
    for steps in STEPS {
        edges.clear();
        let decades = (0..).map_while(|exponent| 10_u64.checked_pow(exponent));
        let all = decades.flat_map(|decade| steps.iter().map(move |step| step.saturating_mul(decade)));
        for edge in all.skip_while(|edge| *edge < min) {
            edges.push(edge);
            if edge >= max {
                break;
            }
        }
        if edges.len() <= MOST_BUCKETS {
            break;
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_round_and_few_and_hold_all() {
        assert_eq!(edges(400, 2_100), [500, 700, 1_000, 1_500, 2_000, 3_000]);
        assert_eq!(edges(1, 1), [10]);
        assert_eq!(edges(500, 500), [500]);
        assert_eq!(edges(100, 900_000).len(), 13);
        for (min, max) in [(1, 10), (7, 90_000), (300, 86_400_000_000), (1, 86_400_000_000)] {
            let edges = edges(min, max);
            assert!(edges.len() <= MOST_BUCKETS && *edges.last().unwrap() >= max, "{min} to {max}: {edges:?}");
        }
    }

    #[test]
    fn every_request_is_in_one_bucket() {
        let mut latencies = Histogram::new_with_bounds(1, 86_400_000_000, 3).unwrap();
        for micros in [400, 500, 501, 900, 7_000, 7_001] {
            latencies.record(micros).unwrap();
        }
        let buckets = buckets(&latencies);
        assert_eq!(buckets[0], Bucket { up_to: Duration::from_micros(500), count: 2 });
        assert_eq!(buckets.iter().map(|bucket| bucket.count).sum::<u64>(), 6);
        assert!(super::buckets(&Histogram::new(3).unwrap()).is_empty());
    }
}
