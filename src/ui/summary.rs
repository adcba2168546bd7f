//! Results as text for people.

use std::fmt::Write as _;
use std::io;
use std::time::Instant;

use authcli::gate::Flight;
use authcli::load::{Latencies, Report, Summary};
use authcli::text::printable;
use jiff::{SignedDuration, Timestamp};

use super::plot;

/// Where nobody tells how wide the lines may be.
const USUAL_WIDTH: usize = 80;
/// Less is too narrow for a drawing: its lines would break.
const NARROWEST_DRAWN: usize = 72;
const WIDEST_DRAWN: usize = 200;

/// Returns what a burst came to: its figures, and where the lines are wide
/// enough its latencies as bars and what happened when.
pub(crate) fn burst(report: &Report, flights: &[Flight], start: Instant) -> String {
    let width = terminal_size::terminal_size_of(io::stdout()).map_or(USUAL_WIDTH, |(width, _)| usize::from(width.0));
    drawn(report, flights, start, width.min(WIDEST_DRAWN))
}

fn drawn(report: &Report, flights: &[Flight], start: Instant, width: usize) -> String {
    let figures = figures(&report.summary);
    if report.buckets.is_empty() || width < NARROWEST_DRAWN {
        return figures;
    }
    let (latencies, time) = (plot::histogram(&report.buckets, width), plot::timeline(report, flights, start, width));
    format!("{figures}\n{latencies}\n{time}")
}

/// Returns the figures as a few aligned lines.
fn figures(summary: &Summary) -> String {
    let mut rows = vec![
        ("requests", format!("{} ({} at a time)", summary.requests, summary.concurrency)),
        ("succeeded", summary.succeeded.to_string()),
        ("failed", summary.failed.to_string()),
    ];
    let statuses: Vec<String> = summary.statuses.iter().map(|(status, count)| format!("{status} × {count}")).collect();
    if !statuses.is_empty() {
        rows.push(("statuses", statuses.join(", ")));
    }
    if let Some(unsent) = summary.unsent {
        rows.push(("unsent", unsent.to_string()));
    }
    for (reason, count) in &summary.errors {
        rows.push(("no answer", format!("{count} × {reason}")));
    }
    let Latencies { p50, p90, p99, max, .. } = summary.latency_ms;
    rows.extend([
        ("refreshes", format!("{} sent, {} taken from other processes", summary.refreshes, summary.adopted)),
        ("sent again", summary.retried.to_string()),
        ("elapsed", format!("{:.1} ms ({:.0} requests/s)", summary.elapsed_ms, summary.requests_per_second)),
        ("latency", format!("p50 {p50:.1} ms, p90 {p90:.1} ms, p99 {p99:.1} ms, max {max:.1} ms")),
    ]);
    aligned(&rows)
}

/// Fractions would be true, but many readers of RFC 3339 (jq's `fromdateiso8601`) take none. Cut off, never rounded up:
/// the token lives at least until then.
pub(crate) fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Returns rows of a name and a value, one a line, the values under each other.
pub(crate) fn aligned(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<width$}  {}", printable(name), printable(value));
    }
    text
}

/// Returns rows of columns, each as wide as its widest cell.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(|cell| printable(cell))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Returns when something ends, and how far that is from `now`.
pub(crate) fn until(end: Option<Timestamp>, now: Timestamp) -> String {
    let Some(end) = end else {
        return "end unknown".into();
    };
    let left = end.duration_since(now);
    let away = rough(left.abs());
    let at = end.strftime("%Y-%m-%d %H:%M:%S UTC");
    if left.is_positive() { format!("ends in {away} ({at})") } else { format!("ended {away} ago ({at})") }
}

/// Returns the two largest units of `duration`: nobody needs the seconds of a week.
pub(crate) fn rough(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        86_400.. => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
        3_600.. => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        60.. => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use authcli::gate::GateCounts;
    use authcli::load::{Completed, Ended, Kept, Tally};
    use authcli::token::Generation;
    use insta::assert_snapshot;
    use reqwest::StatusCode;

    use super::*;

    /// A burst of a second with a refresh that took a tenth of it, as long as ten requests and the reason for one failure.
    fn example() -> (Report, Vec<Flight>, Instant) {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut tally = Tally::new(start);
        for number in 0..900 {
            // None ends while the tokens are refreshed; ten that were refused wait for it.
            let (begun, took) = match number {
                0..400 => (number, 2 + number % 7),
                400..410 => (400, 101),
                _ => (number + 100, 2 + number % 11),
            };
            let completed = Completed {
                status: if number == 700 { StatusCode::BAD_GATEWAY } else { StatusCode::OK },
                retried: (400..410).contains(&number),
                generation: if number < 400 { Generation::FIRST } else { Generation::FIRST.next() },
                refusal: None,
                content_type: None,
                body: Kept::TooLong,
            };
            tally.add(&Ended { start: at(begun), end: at(begun + took), result: Ok(completed) });
        }
        let flight =
            Flight { start: at(401).into(), end: at(499).into(), generation: Generation::FIRST.next(), adopted: false };
        (tally.report(10, GateCounts { refreshes: 1, adopted: 0 }, at(1_010)), vec![flight], start)
    }

    #[test]
    fn a_burst_on_80_columns() {
        let (report, flights, start) = example();
        let text = drawn(&report, &flights, start, 80);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert_snapshot!(text, @"
        requests    900 (10 at a time)
        succeeded   899
        failed      1
        statuses    200 × 899, 502 × 1
        refreshes   1 sent, 0 taken from other processes
        sent again  10
        elapsed     1010.0 ms (891 requests/s)
        latency     p50 6.0 ms, p90 11.0 ms, p99 101.1 ms, max 101.1 ms

        latency    ≤ 2.0 ms ██████████████████▊                            102  11.3%
                   ≤ 3.0 ms                                                  0   0.0%
                   ≤ 5.0 ms █████████████████████████████████████▎         202  22.4%
                   ≤ 7.0 ms █████████████████████████████████████▋         204  22.7%
                    ≤ 10 ms ██████████████████████████████████████████████ 249  27.7%
                    ≤ 15 ms ████████████████████████▌                      133  14.8%
                    ≤ 20 ms                                                  0   0.0%
                    ≤ 30 ms                                                  0   0.0%
                    ≤ 50 ms                                                  0   0.0%
                    ≤ 70 ms                                                  0   0.0%
                   ≤ 100 ms                                                  0   0.0%
                   ≤ 150 ms █▊                                              10   1.1%

        answers     ▇███████████████████▁   ▄▄███████████████████████▇  peak 1040/s
        failed                                              █
        slowest     ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁   █▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁  peak 101 ms
        refreshes   ························▲·························  ▲ 1
                    0 s                                          1.0 s
                    refreshed at 401 ms, in 98 ms; answers with that token: 500
        ");
    }

    #[test]
    fn a_burst_on_200_columns() {
        let (report, flights, start) = example();
        let text = drawn(&report, &flights, start, 200);
        assert!(text.lines().all(|line| line.chars().count() <= 200), "{text}");
        assert_snapshot!(text, @"
        requests    900 (10 at a time)
        succeeded   899
        failed      1
        statuses    200 × 899, 502 × 1
        refreshes   1 sent, 0 taken from other processes
        sent again  10
        elapsed     1010.0 ms (891 requests/s)
        latency     p50 6.0 ms, p90 11.0 ms, p99 101.1 ms, max 101.1 ms

        latency    ≤ 2.0 ms █████████████████████████████▍                                           102  11.3%
                   ≤ 3.0 ms                                                                            0   0.0%
                   ≤ 5.0 ms ██████████████████████████████████████████████████████████▍              202  22.4%
                   ≤ 7.0 ms ██████████████████████████████████████████████████████████▉              204  22.7%
                    ≤ 10 ms ████████████████████████████████████████████████████████████████████████ 249  27.7%
                    ≤ 15 ms ██████████████████████████████████████▍                                  133  14.8%
                    ≤ 20 ms                                                                            0   0.0%
                    ≤ 30 ms                                                                            0   0.0%
                    ≤ 50 ms                                                                            0   0.0%
                    ≤ 70 ms                                                                            0   0.0%
                   ≤ 100 ms                                                                            0   0.0%
                   ≤ 150 ms ██▉                                                                       10   1.1%

        answers     ▃▄▅▅▆▄▅▅▄▆▅▅▄▆▅▄▅▆▅▄▅▆▄▆▅▆▄▆▅▄▅▆▅▄▅▆▄▅▅▆▄▅▅▄▆▅▅▄▆▅▄▅▆▅▄▅▆▄▆▅▆▄▆▅▄▅▆▄▂               █ ▁▅▄▆▅▆▄▆▅▄▅▆▅▄▅▆▄▅▅▆▄▅▅▄▆▅▅▄▆▅▄▅▆▅▄▅▆▄▆▅▆▄▆▅▄▅▆▅▄▅▆▄▅▅▆▄▅▅▄▆▅▅▄▆▅▄▅▆▅▄▅▆▄▆▅▆▄▆▅▄▅▆▄▃  peak 1683/s
        failed                                                                                                                                              █
        slowest     ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁               █ ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁  peak 101 ms
        refreshes   ···················································································▲······················································································  ▲ 1
                    0 s                                                                                                                                                                  1.0 s
                    refreshed at 401 ms, in 98 ms; answers with that token: 500
        ");
    }

    #[test]
    fn whatever_the_width_no_line_is_wider() {
        let (report, flights, start) = example();
        assert_eq!(drawn(&report, &flights, start, 71), figures(&report.summary));
        for width in NARROWEST_DRAWN..=WIDEST_DRAWN {
            let text = drawn(&report, &flights, start, width);
            assert!(text.lines().skip(8).all(|line| line.chars().count() <= width), "{width}:\n{text}");
        }
        let nothing = Tally::new(start).report(1, GateCounts::default(), start);
        assert_eq!(drawn(&nothing, &[], start, 80).lines().count(), 7);
    }

    #[test]
    fn cells_stand_under_each_other_and_command_no_terminal() {
        let rows = [["* default", "\u{1b}[31mhttp://h"], ["  ä", "-"]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&rows), "* default  [31mhttp://h\n  ä        -\n");
        assert_eq!(aligned(&[("a", "x\u{7}".into()), ("bcd", "y".into())]), "a    x\nbcd  y\n");
    }

    #[test]
    fn times_are_told_in_the_units_that_matter() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (seconds, expected) in [
            (1, "ends in 1.0 s (2026-01-01 00:00:01 UTC)"),
            (61, "ends in 1 min 1 s (2026-01-01 00:01:01 UTC)"),
            (7 * 86_400, "ends in 7 d 0 h (2026-01-08 00:00:00 UTC)"),
            (-3_660, "ended 1 h 1 min ago (2025-12-31 22:59:00 UTC)"),
        ] {
            assert_eq!(until(Some(now + SignedDuration::from_secs(seconds)), now), expected);
        }
        assert_eq!(until(None, now), "end unknown");
    }
}
