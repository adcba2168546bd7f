//! Drawings made of text: latencies as bars, and what happened when.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use authcli::gate::Flight;
use authcli::load::{Bucket, Report, Slot, Timeline};

/// As wide as the names of the summary's rows.
const NAMES: usize = 12;
/// Wider bars are no easier to compare.
const WIDEST_BAR: usize = 80;
/// What stands behind a line of time.
const PEAKS: usize = 18;
/// How many refreshes are told of one by one.
const FLIGHTS_TOLD: usize = 8;
const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Returns a bar for each bucket, in lines of at most `width` columns.
pub(crate) fn histogram(buckets: &[Bucket], width: usize) -> String {
    let all: u64 = buckets.iter().map(|bucket| bucket.count).sum();
    let most = buckets.iter().map(|bucket| bucket.count).max().unwrap_or(0).max(1);
    let digits = most.to_string().len();
    let bar = width.saturating_sub(NAMES + digits + 11).clamp(10, WIDEST_BAR);
    let mut text = String::new();
    for (number, bucket) in buckets.iter().enumerate() {
        let name = if number == 0 { "latency" } else { "" };
        let edge = format!("≤ {}", time(bucket.up_to));
        let drawn = bar_of(bucket.count, most, bar);
        let share = percent(bucket.count, all);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<8}{edge:>11} {drawn:<bar$} {:>digits$} {share:>6}", bucket.count, bar = bar - 8);
    }
    text
}

/// Returns when requests ended, how long they took, and when tokens were refreshed, in lines of at most `width` columns.
pub(crate) fn timeline(report: &Report, flights: &[Flight], start: Instant, width: usize) -> String {
    let elapsed = Duration::from_secs_f64(report.summary.elapsed_ms / 1e3);
    let columns = report.timeline.columns(elapsed, width.saturating_sub(NAMES + PEAKS).max(10));
    let count = columns.len();
    let mut text = String::new();
    let ended = spark(&columns, |slot| slot.ended);
    let most = columns.iter().map(|slot| slot.ended).max().unwrap_or(0);
    let rate = Duration::from_secs_f64(elapsed.as_secs_f64() / as_f64(count as u64)).as_secs_f64();
    let _ = writeln!(text, "{:<NAMES$}{ended}  peak {:.0}/s", "answers", as_f64(most) / rate.max(f64::MIN_POSITIVE));
    if report.summary.failed > 0 {
        let _ = writeln!(text, "{:<NAMES$}{}", "failed", spark(&columns, |slot| slot.failed).trim_end());
    }
    let slowest = spark(&columns, |slot| u64::try_from(slot.slowest.as_micros()).unwrap_or(u64::MAX));
    let longest = columns.iter().map(|slot| slot.slowest).max().unwrap_or_default();
    let _ = writeln!(text, "{:<NAMES$}{slowest}  peak {}", "slowest", time(longest));
    let mut marks = vec!['·'; count];
    let flights: Vec<&Flight> = flights.iter().filter(|flight| flight.end >= start.into()).collect();
    for flight in &flights {
        let at = flight.end.into_std().saturating_duration_since(start);
        marks[Timeline::column(at, elapsed, count)] = '▲';
    }
    let marks: String = marks.into_iter().collect();
    let _ = writeln!(text, "{:<NAMES$}{marks}  {}", "refreshes", told_count(flights.len()));
    let end = time(elapsed);
    let _ = writeln!(text, "{:<NAMES$}0 s{end:>width$}", "", width = count.saturating_sub(3).max(end.len() + 1));
    text.push_str(&told(report, &flights, start));
    text
}

fn told_count(flights: usize) -> String {
    if flights == 0 { "none".into() } else { format!("▲ {flights}") }
}

/// Tells each flight by what it brought about.
fn told(report: &Report, flights: &[&Flight], start: Instant) -> String {
    let mut text = String::new();
    for flight in flights.iter().take(FLIGHTS_TOLD) {
        let (took_off, landed) = (flight.start.into_std(), flight.end.into_std());
        let at = time(took_off.saturating_duration_since(start));
        let took = time(landed.saturating_duration_since(took_off));
        let answers = report.by_generation.get(&flight.generation.number()).copied().unwrap_or(0);
        let how = if flight.adopted { "taken over from another process" } else { "refreshed" };
        let _ = writeln!(text, "{:<NAMES$}{how} at {at}, in {took}; answers with that token: {answers}", "");
    }
    if flights.len() > FLIGHTS_TOLD {
        let _ = writeln!(text, "{:<NAMES$}and {} more", "", flights.len() - FLIGHTS_TOLD);
    }
    text
}

fn bar_of(count: u64, most: u64, width: usize) -> String {
    let width = width.saturating_sub(8);
    let eighths = u128::from(count) * (width as u128) * 8 / u128::from(most);
    let eighths = usize::try_from(eighths).unwrap_or(0);
    let mut bar = "█".repeat(eighths / 8);
    match EIGHTHS[eighths % 8] {
        // What is there must be seen.
        ' ' if eighths == 0 && count > 0 => bar.push('▏'),
        ' ' => {}
        part => bar.push(part),
    }
    bar
}

/// Draws one character for each column, as high as `value` is beside the highest.
fn spark(columns: &[Slot], value: impl Fn(&Slot) -> u64) -> String {
    let most = columns.iter().map(&value).max().unwrap_or(0).max(1);
    columns
        .iter()
        .map(|slot| match value(slot) {
            0 => ' ',
            value => {
                let level = (u128::from(value) * 8).div_ceil(u128::from(most)).clamp(1, 8) - 1;
                LEVELS[usize::try_from(level).unwrap_or(0)]
            }
        })
        .collect()
}

/// Returns a time as people say it.
fn time(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1e3;
    match milliseconds {
        0.0..1.0 => format!("{milliseconds:.2} ms"),
        1.0..10.0 => format!("{milliseconds:.1} ms"),
        10.0..1_000.0 => format!("{milliseconds:.0} ms"),
        _ if time.as_secs() < 10 => format!("{:.1} s", time.as_secs_f64()),
        _ => format!("{:.0} s", time.as_secs_f64()),
    }
}

fn percent(part: u64, all: u64) -> String {
    format!("{:.1}%", as_f64(part) * 100.0 / as_f64(all.max(1)))
}

#[expect(clippy::cast_precision_loss, reason = "a count of requests beyond 2^53 does not occur")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
