//! A model of a server that rotates refresh tokens: strict, so that a client's mistake shows as a lost session.
//!
//! Its rules are authcli-server's: redeeming the current token rotates; the one just replaced gives the same successor
//! again under the same attempt key; an older one under a remembered key is refused and no more; any other old token is
//! reuse, and ends the session for good.

use std::collections::VecDeque;

use url::Url;

/// How many attempt keys the server remembers.
const KEYS: usize = 4;

#[derive(Default)]
pub(super) struct Server {
    logins: Vec<Login>,
}

struct Login {
    rotation: u64,
    /// The latest rotations: which one each replaced, and under which key.
    keys: VecDeque<(u64, String)>,
    revoked: bool,
}

/// The tokens of one rotation of one login, as their own text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) login: usize,
    pub(super) rotation: u64,
}

impl Pair {
    pub(super) fn text(self, kind: &str) -> String {
        format!("{kind} {} {}", self.login, self.rotation)
    }

    pub(super) fn read(text: &str, kind: &str) -> Option<Self> {
        let (login, rotation) = text.strip_prefix(kind)?.trim().split_once(' ')?;
        Some(Self { login: login.parse().ok()?, rotation: rotation.parse().ok()? })
    }

    /// Every login is at another place, and its tokens are for that place alone.
    pub(super) fn origin(self) -> Url {
        Url::parse(&format!("https://server-{}.test/", self.login)).unwrap()
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Granted(Pair),
    Refused,
    /// Refused, and the session revoked: a client redeemed what it should not have had any more.
    Reuse,
}

impl Server {
    pub(super) fn log_in(&mut self) -> Pair {
        self.logins.push(Login { rotation: 1, keys: VecDeque::new(), revoked: false });
        Pair { login: self.logins.len() - 1, rotation: 1 }
    }

    pub(super) fn redeem(&mut self, token: Pair, key: &str) -> Verdict {
        let login = &mut self.logins[token.login];
        if login.revoked {
            return Verdict::Refused;
        }
        if token.rotation == login.rotation {
            login.keys.push_front((token.rotation, key.to_owned()));
            login.keys.truncate(KEYS);
            login.rotation += 1;
            return Verdict::Granted(Pair { rotation: login.rotation, ..token });
        }
        let known = login.keys.contains(&(token.rotation, key.to_owned()));
        if known && token.rotation + 1 == login.rotation {
            return Verdict::Granted(Pair { rotation: login.rotation, ..token });
        }
        if known {
            return Verdict::Refused;
        }
        login.revoked = true;
        Verdict::Reuse
    }

    /// Ends a session from the server's side: a logout, an administrator, its time.
    pub(super) fn revoke(&mut self, login: usize) {
        self.logins[login].revoked = true;
    }

    pub(super) fn is_revoked(&self, login: usize) -> bool {
        self.logins[login].revoked
    }

    /// Returns whether the server still remembers the key of a redemption of `token` that it may have done before.
    pub(super) fn remembers(&self, token: Pair) -> bool {
        self.logins[token.login].rotation - token.rotation < KEYS as u64
    }
}
