//! The throttle: how many wrong logins are too many.
//!
//! - Each failure goes into a bucket that drains at a constant pace; a full bucket takes no more. So there is a number of
//!   failures that nobody is asked to wait for, then one at each step of the pace, and after a while all is forgotten. No
//!   wait is longer than one step: nobody can lock out anybody for good.
//! - An attempt counts for its account and for its network. From an address that has logged in to the account before, it
//!   counts for that pair alone: whatever is done elsewhere, the owner gets a try from there. Who shares the address (behind
//!   one proxy or NAT) shares that bucket too.
//! - An attempt is counted before its password is hashed, and taken back when it was right: many at once are no way around
//!   the limit, and logins that are right are never slowed.
//! - A name that nobody has is an account like any other.
//!
//! This decides on buckets as they were read; the store repeats it in the statement that counts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use aws_lc_rs::hmac;

use super::lifetimes::UnixMillis;

/// What an attempt is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// The account, whoever tries.
    Account,
    /// The network, whatever it tries.
    Network,
    /// The account, tried from an address that has logged in to it.
    KnownAddress,
}

/// The size and the pace of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many failures it holds.
    pub failures: u32,
    /// How long it takes to forget one of them.
    pub pace: Duration,
}

impl Limit {
    /// How long a full bucket takes to drain.
    pub fn size(self) -> Duration {
        self.pace * self.failures
    }
}

impl Counted {
    /// Returns the limit of each kind.
    pub fn limit(self) -> Limit {
        match self {
            // Some 300 guesses a day from all the world together: a password that falls to that falls to anything. The
            // owner at a strange place mistypes ten times, and then waits for five minutes at most.
            Self::Account => Limit { failures: 10, pace: Duration::from_mins(5) },
            // An office behind one address may all come back from holidays at once. Some 8 700 guesses a day, if they are
            // spread over many accounts.
            Self::Network => Limit { failures: 100, pace: Duration::from_secs(10) },
            // Most probably the owner, who should not wait for long; a neighbour has some 1 400 guesses a day.
            Self::KnownAddress => Limit { failures: 10, pace: Duration::from_mins(1) },
        }
    }
}

/// How long an address is known after a login from it: as long as a session may last.
pub const KNOWN_ADDRESS_LIFE: Duration = Duration::from_hours(90 * 24);

/// A bucket, as it was at the moment `now` of the database's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// What is counted in it.
    pub counted: Counted,
    /// When it will have drained; a moment that has passed means that it is empty.
    pub empty_at: UnixMillis,
    /// The database's clock.
    pub now: UnixMillis,
}

impl Bucket {
    /// Returns when it will have drained with one failure more; if there is no room for it, how long until there is.
    ///
    /// An end further away than that of two full buckets was written by a clock that was wrong: it counts for nothing.
    pub fn reserve(&self) -> Result<UnixMillis, Duration> {
        let limit = self.counted.limit();
        let full = self.now.plus(limit.size());
        let possible = self.empty_at > self.now && self.empty_at <= full.plus(limit.size());
        let drained = if possible { self.empty_at } else { self.now };
        let next = drained.plus(limit.pace);
        if next <= full { Ok(next) } else { Err(next.since(full)) }
    }
}

/// Returns how long an attempt that counts in all these buckets must wait, if it must.
pub fn wait(buckets: &[Bucket]) -> Option<Duration> {
    buckets.iter().filter_map(|bucket| bucket.reserve().err()).max()
}

/// Whoever is counted as one client address: 256 addresses of IPv4, the 64-bit prefix of IPv6, which one line usually has
/// to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientNetwork(IpAddr);

impl ClientNetwork {
    /// Returns the network of an address.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            // The one machine that it is, so that it can be recognised.
            loopback if loopback.is_loopback() => loopback,
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & !0xff).into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (!0 << 64)).into(),
        })
    }

    /// Answers whether attempts are counted for it. Those of this machine are not: whoever tries from here may as well be
    /// a test, or a proxy that all clients come through.
    fn is_counted(self) -> bool {
        !self.0.is_loopback()
    }
}

impl fmt::Display for ClientNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            loopback if loopback.is_loopback() => write!(f, "{loopback}"),
            IpAddr::V4(address) => write!(f, "{address}/24"),
            IpAddr::V6(address) => write!(f, "{address}/64"),
        }
    }
}

/// The name under which something is counted: a keyed digest. People type passwords where names belong, so names are not
/// kept; and without the key nobody finds a name again by trying.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subject([u8; Self::BYTES]);

impl Subject {
    const BYTES: usize = 16;

    /// Returns the bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Enough of it to find its other lines in a log.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subject({self})")
    }
}

/// All that one attempt may be counted for.
#[derive(Clone, Copy, Debug)]
pub struct Subjects {
    /// The account.
    pub account: Subject,
    /// The network, unless it is this machine.
    pub network: Option<Subject>,
    /// The pair of account and address: of IPv6 the 64-bit prefix.
    pub known_address: Subject,
}

impl Subjects {
    /// Returns what is counted under this name.
    pub fn counted(&self, subject: &[u8]) -> Option<Counted> {
        let is = |own: &Subject| own.as_bytes() == subject;
        if is(&self.account) {
            Some(Counted::Account)
        } else if is(&self.known_address) {
            Some(Counted::KnownAddress)
        } else {
            self.network.as_ref().filter(|own| is(own)).map(|_| Counted::Network)
        }
    }

    /// Returns the name under which that is counted.
    pub fn of(&self, counted: Counted) -> Option<&Subject> {
        match counted {
            Counted::Account => Some(&self.account),
            Counted::Network => self.network.as_ref(),
            Counted::KnownAddress => Some(&self.known_address),
        }
    }
}

/// The key of those digests.
pub struct ThrottleKey(hmac::Key);

impl ThrottleKey {
    /// Takes a key that nothing else uses.
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Returns what a login with this name, from this address, is counted for. The name is any text that was typed.
    pub fn subjects(&self, name: &str, from: IpAddr) -> Subjects {
        let network = ClientNetwork::of(from);
        // Of IPv4 the address itself: neighbours in a network are strangers.
        let address = match from.to_canonical() {
            address @ IpAddr::V4(_) => address,
            IpAddr::V6(_) => network.0,
        };
        let name = name.as_bytes();
        Subjects {
            account: self.subject(b"account", &[], name),
            network: network.is_counted().then(|| self.subject(b"network", &octets(network.0), &[])),
            known_address: self.subject(b"known address", &octets(address), name),
        }
    }

    /// The kind ends with a byte that none of them holds, and the address always has the same length for a kind: no two
    /// inputs look the same.
    fn subject(&self, kind: &[u8], address: &[u8], name: &[u8]) -> Subject {
        let tag = hmac::sign(&self.0, &[kind, &[0], address, name].concat());
        let mut bytes = [0; Subject::BYTES];
        bytes.copy_from_slice(&tag.as_ref()[..Subject::BYTES]);
        Subject(bytes)
    }
}

/// Returns an address at the length that all have.
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

impl fmt::Debug for ThrottleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ThrottleKey(..)")
    }
}

#[cfg(test)]
mod tests;
