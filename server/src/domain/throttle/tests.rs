use proptest::prelude::*;

use super::*;
use crate::domain::whole_millis;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn any_counted() -> impl Strategy<Value = Counted> {
    prop_oneof![Just(Counted::Account), Just(Counted::Network), Just(Counted::KnownAddress)]
}

fn bucket(counted: Counted, empty_in: i64, now: UnixMillis) -> Bucket {
    Bucket { counted, empty_at: UnixMillis(NOW.0.saturating_add(empty_in)), now }
}

/// Tries wrongly at each of these moments; returns those at which it was allowed.
fn allowed(counted: Counted, moments: impl IntoIterator<Item = UnixMillis>) -> Vec<UnixMillis> {
    let mut empty_at = UnixMillis(0);
    let mut allowed = Vec::new();
    for now in moments {
        if let Ok(next) = (Bucket { counted, empty_at, now }).reserve() {
            empty_at = next;
            allowed.push(now);
        }
    }
    allowed
}

#[test]
fn at_one_moment_the_limit_is_exact() {
    for (counted, most) in [(Counted::Account, 10), (Counted::Network, 100), (Counted::KnownAddress, 10)] {
        assert_eq!(allowed(counted, [NOW; 500]).len(), most, "{counted:?}");
    }
}

#[test]
fn a_bucket_that_has_drained_is_as_new() {
    for counted in [Counted::Account, Counted::Network, Counted::KnownAddress] {
        let limit = counted.limit();
        let most = usize::try_from(limit.failures).unwrap();
        let twice = std::iter::repeat_n(NOW, 500).chain(std::iter::repeat_n(NOW.plus(limit.size()), 500));
        assert_eq!(allowed(counted, twice).len(), 2 * most);
    }
}

#[test]
fn a_clock_that_was_wrong_locks_out_nobody() {
    let hour = 3_600_000;
    assert!(bucket(Counted::Account, 365 * 24 * hour, NOW).reserve().is_ok());
    assert!(bucket(Counted::Account, i64::MAX, NOW).reserve().is_ok());
    // Set back by a little: a full bucket stays full.
    assert!(bucket(Counted::Account, hour, NOW).reserve().is_err());
}

#[test]
fn the_longest_wait_counts() {
    let at = |counted: Counted, empty_in| bucket(counted, empty_in, NOW);
    assert_eq!(wait(&[at(Counted::Account, 0), at(Counted::Network, 0)]), None);
    let both = [at(Counted::Account, 3_000_000), at(Counted::Network, 1_000_000)];
    assert_eq!(wait(&both), Some(Duration::from_mins(5)));
    assert_eq!(wait(&both[1..]), Some(Duration::from_secs(10)));
}

proptest! {
    /// Whatever the moments of the attempts are: no window has more than the limit, and one for each step of the pace.
    #[test]
    fn no_window_holds_more_than_the_limit(counted in any_counted(), gaps in prop::collection::vec(0_u64..400_000, 1..400)) {
        let mut now = NOW;
        let moments = gaps.iter().map(|gap| {
            now = now.plus(Duration::from_millis(*gap));
            now
        });
        let allowed = allowed(counted, moments);
        let limit = counted.limit();
        for (from, start) in allowed.iter().enumerate() {
            for (to, end) in allowed.iter().enumerate().skip(from) {
                let most = u128::from(limit.failures) + end.since(*start).as_millis() / limit.pace.as_millis();
                prop_assert!(((to - from) as u128) < most, "{} in {:?}", to - from + 1, end.since(*start));
            }
        }
    }

    #[test]
    fn the_wait_is_exact_and_never_longer_than_a_step_unless_the_clock_was_set_back(
        counted in any_counted(),
        empty_in in -10_000_000_i64..10_000_000,
    ) {
        let before = bucket(counted, empty_in, NOW);
        let limit = counted.limit();
        if let Err(wait) = before.reserve() {
            prop_assert!(!wait.is_zero());
            if empty_in <= whole_millis(limit.size()) {
                prop_assert!(wait <= limit.pace);
            }
            prop_assert!(wait <= limit.size() + limit.pace);
            let later = |wait| Bucket { now: NOW.plus(wait), ..before };
            prop_assert!(later(wait).reserve().is_ok());
            prop_assert!(later(wait.saturating_sub(Duration::from_millis(1))).reserve().is_err());
        }
    }

    /// What is given back is as if it had never been counted, in whatever order many come and go.
    #[test]
    fn a_refund_undoes_a_reservation(counted in any_counted(), failures in 0_u32..9, reserved in 1_u32..9) {
        let pace = counted.limit().pace;
        let start = bucket(counted, whole_millis(pace * failures), NOW);
        let mut state = start;
        let mut granted = 0;
        for _ in 0..reserved {
            if let Ok(next) = state.reserve() {
                state.empty_at = next;
                granted += 1;
            }
        }
        state.empty_at = UnixMillis(state.empty_at.0 - whole_millis(pace * granted));
        prop_assert_eq!(state.reserve(), start.reserve());
    }

    #[test]
    fn no_state_makes_it_fail(counted in any_counted(), empty_at: i64, now: i64) {
        let _ = Bucket { counted, empty_at: UnixMillis(empty_at), now: UnixMillis(now) }.reserve();
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn network(text: &str) -> ClientNetwork {
    ClientNetwork::of(address(text))
}

/// A neighbour's failures are not counted where only the owner's are.
#[test]
fn a_known_address_is_a_whole_one() {
    let key = ThrottleKey::new(&[1; 32]);
    let pair = |from: &str| key.subjects("a", address(from)).known_address;
    assert_ne!(pair("203.0.113.7"), pair("203.0.113.8"));
    assert_eq!(pair("203.0.113.7"), pair("::ffff:203.0.113.7"));
    assert_eq!(
        pair("2001:db8:1:2::3"),
        pair("2001:db8:1:2:ffff::"),
        "one line of IPv6 changes its address all the time"
    );
    assert_ne!(pair("2001:db8:1:2::3"), pair("2001:db8:1:3::3"));
    assert_ne!(pair("127.0.0.1"), pair("127.0.0.2"));
}

#[test]
fn neighbours_are_one_network() {
    assert_eq!(network("203.0.113.7"), network("203.0.113.250"));
    assert_eq!(network("203.0.113.7"), network("::ffff:203.0.113.9"));
    assert_ne!(network("203.0.113.7"), network("203.0.114.7"));
    assert_eq!(network("2001:db8:1:2::3"), network("2001:db8:1:2:ffff::"));
    assert_ne!(network("2001:db8:1:2::3"), network("2001:db8:1:3::3"));
    assert_eq!(network("203.0.113.7").to_string(), "203.0.113.0/24");
    assert_eq!(network("2001:db8:1:2::3").to_string(), "2001:db8:1:2::/64");
    assert_eq!(network("::1").to_string(), "::1");
}

#[test]
fn this_machine_is_not_counted_as_a_network() {
    let key = ThrottleKey::new(&[1; 32]);
    for loopback in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
        assert!(key.subjects("a", address(loopback)).network.is_none(), "{loopback}");
    }
    assert!(key.subjects("a", address("10.0.0.1")).network.is_some());
}

#[test]
fn no_two_things_are_counted_under_one_name() {
    let key = ThrottleKey::new(&[1; 32]);
    let mut seen = Vec::new();
    for name in ["", "a", "b", "network", "\0"] {
        for from in ["10.0.0.1", "10.0.1.1", "::1"] {
            let subjects = key.subjects(name, address(from));
            seen.extend([(Some(subjects.account), format!("account {name:?}"))]);
            seen.extend([(Some(subjects.known_address), format!("pair {name:?} {from}"))]);
            seen.extend([(subjects.network, format!("network {from}"))]);
            assert_eq!(subjects.counted(subjects.account.as_bytes()), Some(Counted::Account));
            assert_eq!(subjects.counted(subjects.known_address.as_bytes()), Some(Counted::KnownAddress));
            assert_eq!(subjects.counted(&[0; 16]), None);
        }
    }
    for (one, what) in &seen {
        for (other, that) in &seen {
            assert_eq!(one.is_some() && one == other, what == that && one.is_some(), "{what}, {that}");
        }
    }
    let other = ThrottleKey::new(&[2; 32]).subjects("a", address("10.0.0.1"));
    assert_ne!(other.account, key.subjects("a", address("10.0.0.1")).account, "without the key nobody finds it");
}
