//! Whether a token is still good, judged by the local clock alone.
//!
//! Every function here is pure: the time of now is an argument. The rules:
//!
//! - A lifetime counts from the receipt of the token on the local clock, so a server whose clock is a day off does no
//!   harm.
//! - A token received "in the future" (the clock was set back) is *unknown*: it is used, and a refusal refreshes it.
//! - A token counts as stale a little before its end ([`Lifetime::leeway`]), so that it does not die on its way.
//! - The local clock alone never ends a session.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

const LONGEST_LEEWAY: Duration = Duration::from_mins(1);
const LONGEST_AHEAD: Duration = Duration::from_mins(1);
const LONGEST_REFUSAL_WINDOW: Duration = Duration::from_secs(30);
/// For tokens whose lifetime nobody told us: short enough that an API with short-lived opaque tokens stays usable,
/// long enough that a server that refuses everything costs one rotation in a burst.
const REFUSAL_WINDOW_OF_UNKNOWN: Duration = Duration::from_secs(5);
/// JWT issuers that round `iat` and `exp` down to whole seconds let a token die up to this much early.
const WHOLE_SECONDS: Duration = Duration::from_secs(1);
/// Beyond this a lifetime says nothing that a program could use, and would overflow calendars.
const LONGEST_LIFETIME: Duration = Duration::from_hours(878_400);

/// How long something lives from its receipt, or that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lifetime {
    #[serde(with = "milliseconds")]
    duration: Option<Duration>,
}

impl Lifetime {
    /// Nothing was said about the lifetime.
    pub const UNKNOWN: Self = Self { duration: None };

    /// A lifetime of `duration`. Zero is no lifetime that anyone means, so it is unknown; a huge one is cut to a
    /// century.
    pub fn of(duration: Duration) -> Self {
        let duration = Some(duration).filter(|duration| !duration.is_zero());
        Self { duration: duration.map(|duration| duration.min(LONGEST_LIFETIME)) }
    }

    /// A lifetime of `seconds`, as an answer states it; anything that is not a positive number is unknown.
    pub fn of_seconds(seconds: f64) -> Self {
        if !seconds.is_finite() || seconds <= 0.0 {
            return Self::UNKNOWN;
        }
        Self::of(Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_LIFETIME))
    }

    /// Returns the lifetime where it is known.
    pub fn duration(self) -> Option<Duration> {
        self.duration
    }

    /// Returns how long before its end a token counts as stale: 10 % of its life, at most a minute.
    pub fn leeway(self) -> Duration {
        self.duration.map_or(Duration::ZERO, |lifetime| (lifetime / 10).min(LONGEST_LEEWAY))
    }

    /// Returns how long before its end long work renews a token in the background: 25 % of its life, at most a minute. From
    /// ten minutes of life on that is the leeway.
    pub fn ahead(self) -> Duration {
        self.duration.map_or(Duration::ZERO, |lifetime| (lifetime / 4).min(LONGEST_AHEAD))
    }

    /// Returns how long one refresh that a refusal caused forbids the next one: half the token's life, at most 30 s.
    pub fn refusal_window(self) -> Duration {
        self.duration.map_or(REFUSAL_WINDOW_OF_UNKNOWN, |lifetime| (lifetime / 2).min(LONGEST_REFUSAL_WINDOW))
    }
}

/// What the local clock says of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Good for a while.
    Fresh,
    /// Good, but in the last part of its life: long work renews it in the background.
    Ending,
    /// At its end or past it: renew before use.
    Stale,
    /// No lifetime is known, or the clock was set back: use it and see.
    Unknown,
}

/// Returns what the local clock says at `now` of a token received at `received_at`.
pub fn freshness(received_at: Timestamp, lifetime: Lifetime, now: Timestamp) -> Freshness {
    let Some(remaining) = remaining(received_at, lifetime, now) else {
        return Freshness::Unknown;
    };
    if remaining <= lifetime.leeway() {
        Freshness::Stale
    } else if remaining <= lifetime.ahead() {
        Freshness::Ending
    } else {
        Freshness::Fresh
    }
}

/// Returns how much life is left, zero when it is over, or `None` where nobody can tell.
pub fn remaining(received_at: Timestamp, lifetime: Lifetime, now: Timestamp) -> Option<Duration> {
    let lifetime = lifetime.duration()?;
    let age = age(received_at, now)?;
    Some(lifetime.saturating_sub(age))
}

/// Returns whether a refusal at `now` can be put down to the token's age. JWT lifetimes are counted one second short
/// here, because many issuers round down to whole seconds; but a token in the first half of its life is never old.
pub fn refusal_means_expiry(received_at: Timestamp, lifetime: Lifetime, now: Timestamp) -> bool {
    let Some(remaining) = remaining(received_at, lifetime, now) else { return false };
    let half = lifetime.duration().unwrap_or_default() / 2;
    remaining <= lifetime.leeway().max(WHOLE_SECONDS.min(half))
}

/// Returns the time since `received_at`, or `None` if that lies in the future.
fn age(received_at: Timestamp, now: Timestamp) -> Option<Duration> {
    Duration::try_from(now.duration_since(received_at)).ok()
}

mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "the signature is serde's")]
    pub(super) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    #[test]
    fn a_token_passes_from_fresh_over_ending_to_stale() {
        let two_seconds = Lifetime::of(Duration::from_secs(2));
        for (age, expected) in [
            (0, Freshness::Fresh),
            (1_499, Freshness::Fresh),
            (1_500, Freshness::Ending),
            (1_799, Freshness::Ending),
            (1_800, Freshness::Stale),
            (2_000, Freshness::Stale),
            (1_000_000, Freshness::Stale),
            (-1, Freshness::Unknown),
        ] {
            assert_eq!(freshness(at(0), two_seconds, at(age)), expected, "age {age} ms");
        }
    }

    #[test]
    fn long_lives_have_a_bounded_leeway() {
        let week = Lifetime::of(Duration::from_hours(168));
        assert_eq!(week.leeway(), Duration::from_mins(1));
        assert_eq!(week.refusal_window(), Duration::from_secs(30));
    }

    #[test]
    fn lifetimes_that_nobody_means_are_unknown() {
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Lifetime::of_seconds(seconds), Lifetime::UNKNOWN, "{seconds}");
        }
        assert_eq!(Lifetime::of_seconds(1e300).duration(), Some(LONGEST_LIFETIME));
    }

    #[test]
    fn a_refusal_in_the_last_whole_second_means_expiry() {
        let lifetime = Lifetime::of(Duration::from_secs(2));
        assert!(!refusal_means_expiry(at(0), lifetime, at(999)));
        assert!(refusal_means_expiry(at(0), lifetime, at(1_000)));
        assert!(!refusal_means_expiry(at(0), Lifetime::UNKNOWN, at(1_000_000)));
    }

    #[test]
    fn a_refusal_in_the_first_half_of_a_short_life_does_not() {
        // Otherwise a server that refuses all such tokens would cost a refresh a request.
        let lifetime = Lifetime::of(Duration::from_secs(1));
        assert!(!refusal_means_expiry(at(0), lifetime, at(499)));
        assert!(refusal_means_expiry(at(0), lifetime, at(500)));
    }

    proptest! {
        #[test]
        fn no_clock_makes_it_panic(received in -1_000_000_000_000_i64..1_000_000_000_000, now in -1_000_000_000_000_i64..1_000_000_000_000, seconds in any::<f64>()) {
            let lifetime = Lifetime::of_seconds(seconds);
            let verdict = freshness(at(received), lifetime, at(now));
            if now < received {
                prop_assert_eq!(verdict, Freshness::Unknown);
            }
            refusal_means_expiry(at(received), lifetime, at(now));
        }
    }
}
