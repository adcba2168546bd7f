//! What a signing key does at which moment of the database's clock.
//!
//! - Each key has a moment from which it signs. The latest of those that have come is the one that signs; so all servers
//!   of a database agree on it, and a new key can be announced before it is used.
//! - A key that another has relieved verifies until the last token that it signed is dead, then it is gone.
//!
//! Everything is decided from the list of keys and the time alone.

use std::time::Duration;

use super::lifetimes::UnixMillis;

/// How long a resource server may keep the public keys: `max-age` of `/.well-known/jwks.json`.
pub const JWKS_MAX_AGE: Duration = Duration::from_mins(5);
/// How old a server's list of keys may be when it signs with one of them.
pub const KEY_LIST_MAX_AGE: Duration = Duration::from_secs(30);
/// How long a new key is announced before it signs: until every server lists it and every copy of an older list has
/// expired, with as much again to spare.
pub const ANNOUNCEMENT: Duration = Duration::from_mins(10);
/// How much longer than its last token a key verifies, for a database whose clock is set back a little.
const AFTERLIFE: Duration = Duration::from_mins(1);

/// The moments of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyTimes {
    /// When it signs its first token; of two keys with the same moment the later one in the list is the later key.
    pub signs_from: UnixMillis,
    /// The longest life of any token that it signed or may sign.
    pub longest_life: Duration,
}

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPhase {
    /// It is published, and signs from its moment on.
    Announced,
    /// New tokens are signed with it.
    Signing,
    /// Its tokens are accepted until this moment.
    Verifying {
        /// After it, none of them lives.
        until: UnixMillis,
    },
    /// None of its tokens lives any more.
    Dead,
}

impl KeyTimes {
    /// Returns the place in `keys` of the one that signs at `now`; none only where there are no keys.
    ///
    /// Where the clock was set back before all of their moments the first of them signs: somebody must.
    pub fn signing(keys: &[KeyTimes], now: UnixMillis) -> Option<usize> {
        let order = |at: &usize| (keys[*at].signs_from, *at);
        let come = (0..keys.len()).filter(|at| keys[*at].signs_from <= now).max_by_key(order);
        come.or_else(|| (0..keys.len()).min_by_key(order))
    }

    /// Returns what each of `keys` does at `now`.
    pub fn phases(keys: &[KeyTimes], now: UnixMillis) -> Vec<KeyPhase> {
        let order = |at: usize| (keys[at].signs_from, at);
        let Some(signing) = Self::signing(keys, now) else {
            return Vec::new();
        };
        let phase = |at: usize| {
            if at == signing {
                return KeyPhase::Signing;
            }
            if order(at) > order(signing) {
                return KeyPhase::Announced;
            }
            let successors = (0..keys.len()).filter(|other| order(*other) > order(at));
            let relieved_at = successors.map(|other| keys[other].signs_from).min().unwrap_or(now);
            let until = keys[at].dead_from(relieved_at);
            if until <= now { KeyPhase::Dead } else { KeyPhase::Verifying { until } }
        };
        (0..keys.len()).map(phase).collect()
    }

    /// Returns when the last token of a key is dead that another relieved at this moment.
    fn dead_from(&self, relieved_at: UnixMillis) -> UnixMillis {
        relieved_at.plus(self.longest_life).plus(AFTERLIFE)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::KeyPhase::{Announced, Dead, Signing, Verifying};
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn key(signs_from: i64, life_minutes: u64) -> KeyTimes {
        KeyTimes { signs_from: UnixMillis(signs_from), longest_life: Duration::from_mins(life_minutes) }
    }

    fn phases(keys: &[KeyTimes], now: i64) -> Vec<KeyPhase> {
        KeyTimes::phases(keys, UnixMillis(now))
    }

    #[test]
    fn a_new_key_is_announced_signs_verifies_and_is_gone() {
        let (old, new) = (key(0, 15), key(HOUR, 15));
        let until = HOUR + 16 * 60_000;
        let verifying = Verifying { until: UnixMillis(until) };
        let table = [
            (0, [Signing, Announced]),
            (HOUR - 1, [Signing, Announced]),
            (HOUR, [verifying, Signing]),
            (until - 1, [verifying, Signing]),
            (until, [Dead, Signing]),
            (until * 1000, [Dead, Signing]),
        ];
        for (now, expected) in table {
            assert_eq!(phases(&[old, new], now), expected, "{now}");
            let mut turned = phases(&[new, old], now);
            turned.reverse();
            assert_eq!(turned, expected, "{now}, whatever the order of the list");
        }
    }

    #[test]
    fn a_key_is_relieved_by_the_next_one_and_not_by_the_last() {
        let keys = [key(0, 60), key(10, 60), key(2 * HOUR, 60)];
        assert_eq!(phases(&keys, HOUR + 60_010)[..2], [Dead, Signing]);
    }

    #[test]
    fn somebody_signs_also_before_all_moments_and_among_equals() {
        assert_eq!(phases(&[], 5), []);
        assert_eq!(phases(&[key(10, 1)], 5), [Signing]);
        assert_eq!(phases(&[key(20, 1), key(10, 1)], 5), [Announced, Signing]);
        assert_eq!(phases(&[key(0, 1), key(0, 1)], 5)[1], Signing);
    }

    #[test]
    fn an_announcement_outlasts_every_older_list_and_every_copy_of_it() {
        assert!(ANNOUNCEMENT >= KEY_LIST_MAX_AGE + JWKS_MAX_AGE);
    }

    proptest! {
        /// At any time one key signs, and whatever was signed is verified for as long as it lives.
        #[test]
        fn every_token_is_verified_for_its_whole_life(
            keys in prop::collection::vec((0..50 * HOUR, 1..120_u64), 1..6),
            signed_at in 0..60 * HOUR,
            share in 0..=1000_i64,
        ) {
            let keys: Vec<KeyTimes> = keys.into_iter().map(|(from, life)| key(from, life)).collect();
            let then = phases(&keys, signed_at);
            prop_assert_eq!(then.iter().filter(|phase| **phase == Signing).count(), 1);
            let signer = then.iter().position(|phase| *phase == Signing).unwrap();
            let life = i64::try_from(keys[signer].longest_life.as_millis()).unwrap();
            let now = signed_at + life * share / 1000;
            prop_assert_ne!(phases(&keys, now)[signer], Dead);
        }

        /// What is gone stays gone, so its row may be removed.
        #[test]
        fn no_key_comes_back(
            keys in prop::collection::vec((0..50 * HOUR, 1..120_u64), 1..6),
            now in 0..60 * HOUR,
            later in 0..60 * HOUR,
        ) {
            let keys: Vec<KeyTimes> = keys.into_iter().map(|(from, life)| key(from, life)).collect();
            let (then, after) = (phases(&keys, now), phases(&keys, now + later));
            for at in 0..keys.len() {
                prop_assert!(then[at] != Dead || after[at] == Dead);
            }
        }
    }
}
