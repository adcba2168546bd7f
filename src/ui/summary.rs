//! Results as text for people.

use std::fmt::Write as _;

use authcli::load::{Latencies, Summary};
use jiff::{SignedDuration, Timestamp};

/// Returns a burst's summary as a few aligned lines.
pub(crate) fn text(summary: &Summary) -> String {
    let mut rows = vec![
        ("requests", format!("{} ({} at a time)", summary.requests, summary.concurrency)),
        ("succeeded", summary.succeeded.to_string()),
        ("failed", summary.failed.to_string()),
    ];
    let statuses: Vec<String> = summary.statuses.iter().map(|(status, count)| format!("{status} × {count}")).collect();
    if !statuses.is_empty() {
        rows.push(("statuses", statuses.join(", ")));
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

/// Names and texts may come from a server; a terminal must not obey what is in them.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
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
    use super::*;

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
