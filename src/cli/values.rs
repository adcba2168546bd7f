//! How values are typed.

use std::num::IntErrorKind;
use std::time::Duration;

/// Reads `500ms`, `5s`, `2m`, or a bare number of seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = if text.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        match text.parse::<f64>() {
            Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
            Err(_) => text.parse().ok().and_then(|duration: jiff::SignedDuration| duration.try_into().ok()),
        }
    } else {
        None
    };
    parsed.ok_or_else(|| "expected a time such as 500ms, 5s, 2m, or a number of seconds".into())
}

pub(super) fn at_least_one(text: &str) -> Result<u64, String> {
    match text.parse::<u64>() {
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => Err(format!("expected at most {}", u64::MAX)),
        Ok(0) | Err(_) => Err("expected a whole number of at least 1".into()),
        Ok(number) => Ok(number),
    }
}

/// Reads a number of requests a second. A million is more than any client sends.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1e6 => Ok(rate),
        _ => Err("expected a number of requests a second, above 0 and at most 1000000".into()),
    }
}

pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        duration if duration.is_zero() => Err("it must be longer than nothing".into()),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, expected) in [
            ("500ms", Some(500)),
            ("5s", Some(5_000)),
            ("2m", Some(120_000)),
            ("7", Some(7_000)),
            ("0.5", Some(500)),
            ("1h 30m", Some(5_400_000)),
            ("0", Some(0)),
            ("", None),
            ("-5s", None),
            ("-1", None),
            ("inf", None),
            ("5 parsecs", None),
            ("1e400", None),
        ] {
            assert_eq!(duration(text).ok(), expected.map(Duration::from_millis), "{text}");
        }
    }
}
