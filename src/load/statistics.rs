//! Counts and latencies of many requests.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::buckets::{Bucket, buckets};
use super::{Ended, Timeline};
use crate::gate::GateCounts;
use crate::http::messages;
use crate::session::SendError;

/// Of how many generations of tokens it is known how many requests went with them: as many flights as a gate remembers.
const GENERATIONS: usize = 1024;
/// How many reasons are told apart; whatever else there is stands under one name.
const REASONS: usize = 32;
const OTHER_REASONS: &str = "other reasons";

/// Collects how requests end.
#[derive(Clone, Debug)]
pub struct Tally {
    start: Instant,
    /// When the last one ended.
    last_end: Option<Instant>,
    /// Latencies in microseconds.
    latencies: Histogram<u64>,
    sum: Duration,
    succeeded: u64,
    failed: u64,
    retried: u64,
    statuses: BTreeMap<u16, u64>,
    errors: BTreeMap<String, u64>,
    timeline: Timeline,
    by_generation: BTreeMap<u64, u64>,
}

/// What many requests came to: the figures, and what there is to draw.
#[derive(Clone, Debug)]
pub struct Report {
    /// The figures.
    pub summary: Summary,
    /// The latencies, from the quickest to the slowest.
    pub buckets: Vec<Bucket>,
    /// What happened when.
    pub timeline: Timeline,
    /// How many answers there were to each of the last generations of tokens.
    pub by_generation: BTreeMap<u64, u64>,
}

/// What many requests came to, in the form of `burst --json`. All times are milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Requests that ended.
    pub requests: u64,
    /// How many were sent at a time.
    pub concurrency: u64,
    /// Answers with a 2xx status.
    pub succeeded: u64,
    /// All others, and those without an answer.
    pub failed: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without an answer, by reason, with its causes.
    pub errors: BTreeMap<String, u64>,
    /// Requests that were due and never sent; only where they are due at a rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsent: Option<u64>,
    /// Refreshes that this process sent and that succeeded.
    pub refreshes: u64,
    /// Newer tokens taken from another process.
    pub adopted: u64,
    /// Requests sent a second time after 401 or 403.
    pub retried: u64,
    /// From the first request's start to the last one's end.
    pub elapsed_ms: f64,
    /// `requests` over that time.
    pub requests_per_second: f64,
    /// How long requests took, those aside for which no token could be had.
    pub latency_ms: Latencies,
}

/// The spread of latencies, in milliseconds; all zero when there is none.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "each name is its percentile")]
pub struct Latencies {
    pub min: f64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Tally {
    /// An empty one, of requests that are sent from `start` on.
    pub fn new(start: Instant) -> Self {
        // From a microsecond to a day at three significant digits; what lies beyond is counted at the edge.
        #[expect(clippy::missing_panics_doc, reason = "it cannot")]
        #[expect(clippy::expect_used, reason = "the bounds are constants that the histogram accepts")]
        let latencies = Histogram::new_with_bounds(1, 86_400_000_000, 3).expect("constant bounds");
        Self {
            start,
            last_end: None,
            latencies,
            sum: Duration::ZERO,
            succeeded: 0,
            failed: 0,
            retried: 0,
            statuses: BTreeMap::new(),
            errors: BTreeMap::new(),
            timeline: Timeline::default(),
            by_generation: BTreeMap::new(),
        }
    }

    /// Counts one request.
    pub fn add(&mut self, ended: &Ended) {
        self.last_end = self.last_end.max(Some(ended.end));
        // What was never sent says nothing about the server, and is quick.
        let elapsed = if let Err(SendError::Token(_)) = ended.result { Duration::ZERO } else { ended.elapsed() };
        if !matches!(ended.result, Err(SendError::Token(_))) {
            self.latencies.saturating_record(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX));
            self.sum += elapsed;
        }
        let succeeded = match &ended.result {
            Ok(completed) => {
                *self.statuses.entry(completed.status.as_u16()).or_default() += 1;
                *self.by_generation.entry(completed.generation.number()).or_default() += 1;
                if self.by_generation.len() > GENERATIONS {
                    self.by_generation.pop_first();
                }
                self.retried += u64::from(completed.retried);
                completed.status.is_success()
            }
            Err(error) => {
                let mut reason = messages(error).join(": ");
                if self.errors.len() >= REASONS && !self.errors.contains_key(&reason) {
                    OTHER_REASONS.clone_into(&mut reason);
                }
                *self.errors.entry(reason).or_default() += 1;
                false
            }
        };
        if succeeded {
            self.succeeded += 1;
        } else {
            self.failed += 1;
        }
        self.timeline.add(ended.end.saturating_duration_since(self.start), !succeeded, elapsed);
    }

    /// Returns how many requests ended so far.
    pub fn requests(&self) -> u64 {
        self.succeeded + self.failed
    }

    /// Returns when the last one ended.
    pub fn last_end(&self) -> Option<Instant> {
        self.last_end
    }

    /// Returns how many of them failed.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Sums up, at `end`.
    pub fn report(self, concurrency: u64, gate: GateCounts, end: Instant) -> Report {
        let requests = self.requests();
        let elapsed = end.saturating_duration_since(self.start);
        let latency_ms = self.latencies_in_milliseconds();
        let summary = Summary {
            requests,
            concurrency,
            succeeded: self.succeeded,
            failed: self.failed,
            statuses: self.statuses,
            errors: self.errors,
            unsent: None,
            refreshes: gate.refreshes,
            adopted: gate.adopted,
            retried: self.retried,
            elapsed_ms: milliseconds(elapsed),
            requests_per_second: rounded(as_f64(requests) / elapsed.as_secs_f64().max(f64::MIN_POSITIVE), 10.0),
            latency_ms,
        };
        let buckets = buckets(&self.latencies);
        Report { summary, buckets, timeline: self.timeline, by_generation: self.by_generation }
    }

    fn latencies_in_milliseconds(&self) -> Latencies {
        if self.latencies.is_empty() {
            return Latencies::default();
        }
        let at = |quantile| milliseconds(Duration::from_micros(self.latencies.value_at_quantile(quantile)));
        Latencies {
            min: milliseconds(Duration::from_micros(self.latencies.min())),
            mean: rounded(self.sum.as_secs_f64() * 1e3 / as_f64(self.latencies.len()), 1e3),
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: milliseconds(Duration::from_micros(self.latencies.max())),
        }
    }
}

/// Returns milliseconds with three decimals: nobody measures nanoseconds here.
pub fn milliseconds(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1e3, 1e3)
}

/// Rounds to a fraction that means something.
fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

#[expect(clippy::cast_precision_loss, reason = "a count of requests beyond 2^53 does not occur")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;
    use crate::load::{Completed, Kept};
    use crate::token::Generation;

    fn ended(start: Instant, millis: u64, status: u16) -> Ended {
        let status = StatusCode::from_u16(status).unwrap();
        let completed = Completed {
            status,
            retried: status.is_success(),
            generation: Generation::FIRST,
            refusal: None,
            content_type: None,
            body: Kept::Whole(bytes::Bytes::new()),
        };
        Ended { start, end: start + Duration::from_millis(millis), result: Ok(completed) }
    }

    #[test]
    fn a_report_tells_what_happened() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        for millis in 1..=100 {
            tally.add(&ended(start, millis, 200));
        }
        tally.add(&ended(start, 1_000, 503));
        let end = start + Duration::from_secs(2);
        let report = tally.report(10, GateCounts { refreshes: 1, adopted: 2 }, end);
        let summary = report.summary;
        assert_eq!((summary.requests, summary.succeeded, summary.failed, summary.retried), (101, 100, 1, 100));
        assert_eq!(summary.statuses, BTreeMap::from([(200, 100), (503, 1)]));
        assert_eq!((summary.refreshes, summary.adopted), (1, 2));
        assert!((summary.requests_per_second - 50.5).abs() < 1e-9);
        let near = |value: f64, expected: f64| (value - expected).abs() / expected < 0.002;
        assert!(near(summary.latency_ms.p50, 51.0), "{:?}", summary.latency_ms);
        assert!(near(summary.latency_ms.max, 1_000.0), "{:?}", summary.latency_ms);
        assert!(near(summary.latency_ms.min, 1.0), "{:?}", summary.latency_ms);
        assert_eq!(report.by_generation, BTreeMap::from([(1, 101)]));
        assert_eq!(report.buckets.iter().map(|bucket| bucket.count).sum::<u64>(), 101);
        let columns = report.timeline.columns(Duration::from_secs(2), 2);
        assert_eq!((columns[0].ended, columns[1].ended, columns[1].failed), (100, 1, 1));
    }

    #[test]
    fn reasons_without_end_take_no_memory_without_end() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        for number in 0..1_000 {
            let result = Err(SendError::WrongOrigin(number.to_string()));
            tally.add(&Ended { start, end: start, result });
        }
        let errors = tally.report(1, GateCounts::default(), start).summary.errors;
        assert_eq!((errors.len(), errors[OTHER_REASONS]), (REASONS + 1, 1_000 - REASONS as u64));
    }

    #[test]
    fn no_request_at_all_is_all_zero_and_still_json() {
        let start = Instant::now();
        let report = Tally::new(start).report(1, GateCounts::default(), start);
        let json = serde_json::to_value(&report.summary).unwrap();
        assert_eq!(json["latency_ms"]["p99"], 0.0);
        assert_eq!(json["requests_per_second"], 0.0);
        assert!(report.buckets.is_empty());
    }
}
