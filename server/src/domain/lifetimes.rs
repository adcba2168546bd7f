//! How long things live, and how that is told to clients.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// A moment by the database's clock, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// Returns the time from `earlier` until this moment; a negative one counts as zero.
    pub fn since(self, earlier: UnixMillis) -> Duration {
        let millis = self.0.saturating_sub(earlier.0).max(0);
        Duration::from_millis(millis.unsigned_abs())
    }

    /// Returns the moment `duration` later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> UnixMillis {
        UnixMillis(self.0.saturating_add(whole_millis(duration)))
    }

    /// Returns the last whole second that is not after this moment.
    pub fn floor_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Returns the moment as people read it, to the second: [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339).
    pub fn to_the_second(self) -> String {
        format!("{:.0}", jiff::Timestamp::from_millisecond(self.0).unwrap_or_default())
    }

    /// Returns the first whole second that is not before this moment.
    pub fn ceil_seconds(self) -> i64 {
        self.0.saturating_add(999).div_euclid(1000)
    }
}

/// The three lifetimes of a login.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// How long an access token is good for.
    pub access: Duration,
    /// How long a session lives without a refresh.
    pub refresh: Duration,
    /// How long a session lives at most; no rotation extends it.
    pub session: Duration,
}

impl Lifetimes {
    /// The longest time in which a client that sends no attempt key may repeat a refresh and get the same successor.
    const LONGEST_REPEAT_WINDOW: Duration = Duration::from_secs(30);

    /// Returns the time in which a refresh made without an attempt key may be repeated.
    ///
    /// A quarter of the access token's life at most: a thief who keeps in step with the owner must fall outside of it at
    /// the next refresh.
    pub fn repeat_window(&self) -> Duration {
        Self::LONGEST_REPEAT_WINDOW.min(self.access / 4)
    }
}

/// Returns the whole milliseconds of a duration.
pub(crate) fn whole_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A duration as JSON shows it: a number of seconds, never more than the real one.
///
/// From ten seconds up it is a whole number; below it keeps its milliseconds (`0.5`, `1.25`), without a fraction where
/// there is none (`2`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub Duration);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.as_secs() >= 10 || self.0.subsec_millis() == 0 {
            serializer.serialize_u64(self.0.as_secs())
        } else {
            let millis = Duration::from_millis(u64::from(self.0.subsec_millis()));
            serializer.serialize_f64((Duration::from_secs(self.0.as_secs()) + millis).as_secs_f64())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_age_counts_as_zero() {
        assert_eq!(UnixMillis(5).since(UnixMillis(9)), Duration::ZERO);
        assert_eq!(UnixMillis(9).since(UnixMillis(5)), Duration::from_millis(4));
    }

    #[test]
    fn whole_seconds_are_rounded_away_from_the_moment() {
        assert_eq!(UnixMillis(1999).floor_seconds(), 1);
        assert_eq!(UnixMillis(1001).ceil_seconds(), 2);
        assert_eq!(UnixMillis(1000).ceil_seconds(), 1);
    }

    #[test]
    fn the_repeat_window_is_a_quarter_of_the_access_life_and_half_a_minute_at_most() {
        let window = |access| {
            let day = Duration::from_hours(24);
            Lifetimes { access, refresh: day, session: day }.repeat_window()
        };
        assert_eq!(window(Duration::from_secs(2)), Duration::from_millis(500));
        assert_eq!(window(Duration::from_mins(15)), Duration::from_secs(30));
    }

    #[test]
    fn seconds_are_whole_unless_they_are_few() {
        let json = |millis| serde_json::to_string(&Seconds(Duration::from_millis(millis))).unwrap();
        assert_eq!(json(500), "0.5");
        assert_eq!(json(1250), "1.25");
        assert_eq!(json(2000), "2");
        assert_eq!(json(604_799_998), "604799");
    }
}
