//! What a session consists of: tokens, their identity, and when they were received.
//!
//! - Tokens and attempt keys are secrets: their `Debug` is redacted, their memory is wiped when dropped, and the only
//!   way to their text is a method named for the danger ([`Secret::expose`]).
//! - A [`TokenSet`] is told apart by *session and generation*, never by the bytes of its tokens: a server may well
//!   answer the same strings twice within one second.
//!
//! Nothing here reads a clock, a file or the network.

mod oauth;

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

pub use self::oauth::{ClientAuthentication, OauthClient, RenewedBy};
use crate::expiry::Lifetime;

/// A token, key or password: text that must never be shown.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps `text`, which is wiped from memory when the last copy is dropped.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// Returns the secret's text. Only what sends it to its own server, or writes it to its own store, may call this.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// Names one login. Drawn at random when a person logs in; every renewal of that login keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(String);

impl SessionId {
    /// Draws a new id (128 random bits).
    pub fn random() -> Result<Self, RandomnessMissing> {
        Ok(Self(random_text::<16>()?))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Counts the saves of a credential: each save has a higher one than all before it, logins included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(u64);

impl Generation {
    /// The generation of a credential's very first save.
    pub const FIRST: Self = Self(1);

    /// Returns the generation that follows this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Returns the plain number, for output.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// The `Idempotency-Key` under which one refresh token will be redeemed.
///
/// It is drawn and saved together with the token it belongs to. So whoever can read the token can also repeat a
/// redemption whose answer was lost, at any later time, and the server recognises it as the same attempt.
#[derive(Clone, Debug)]
pub struct AttemptKey(Secret);

impl AttemptKey {
    /// Draws a new key (256 random bits).
    pub fn random() -> Result<Self, RandomnessMissing> {
        Ok(Self(Secret::new(random_text::<32>()?)))
    }

    /// Takes up a key that was saved before.
    pub fn from_saved(text: String) -> Self {
        Self(Secret::new(text))
    }

    /// Returns the key's text: for the `Idempotency-Key` header and the store alone.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// The operating system gave no random bytes.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the operating system gave no random bytes: {0}")]
pub struct RandomnessMissing(getrandom::Error);

/// Returns `BYTES` random bytes as unpadded base64url.
pub(crate) fn random_text<const BYTES: usize>() -> Result<String, RandomnessMissing> {
    let mut bytes = [0_u8; BYTES];
    getrandom::fill(&mut bytes).map_err(RandomnessMissing)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// What a server answers to a login or a refresh.
#[derive(Clone, Debug)]
pub struct IssuedTokens {
    /// The token that requests carry.
    pub access_token: Secret,
    /// The token that the next refresh redeems. Absent: the one before stays good (RFC 6749 section 6).
    pub refresh_token: Option<Secret>,
    /// How long the access token lives from its receipt, where the server or the token says so.
    pub access_lifetime: Lifetime,
    /// How long the session lives without a refresh, where the server says so.
    pub refresh_lifetime: Lifetime,
}

/// Everything that is kept of one session, saved and loaded as a whole.
#[derive(Clone, Debug)]
pub struct TokenSet {
    /// Which login this is.
    pub session: SessionId,
    /// Which save of it this is.
    pub generation: Generation,
    /// The API these tokens are for; they are sent to its origin alone.
    pub server: Url,
    /// Where the refresh token may be redeemed; it is sent there alone.
    pub refresh_endpoint: Url,
    /// Where the session can be revoked, if the server has such a place.
    pub revocation_endpoint: Option<Url>,
    /// Whose tokens these are, where an OAuth 2.0 server issued them.
    pub oauth: Option<OauthClient>,
    /// Whom the session belongs to, as typed at login.
    pub account: Option<String>,
    /// The token that requests carry.
    pub access_token: Secret,
    /// The token that the next refresh redeems.
    pub refresh_token: Option<Secret>,
    /// The key under which `refresh_token` will be redeemed.
    pub attempt_key: AttemptKey,
    /// When these tokens arrived, on the local clock.
    pub received_at: Timestamp,
    /// When `refresh_token` first arrived: one that a refresh did not replace is older than the access token.
    pub refresh_received_at: Timestamp,
    /// How long the access token lives from its receipt.
    pub access_lifetime: Lifetime,
    /// How long the session lives from the receipt of the refresh token without a refresh.
    pub refresh_lifetime: Lifetime,
}

impl TokenSet {
    /// Returns the set that replaces this one after a refresh: same session, next generation, `attempt_key` for the
    /// redemption after this one.
    #[must_use]
    pub fn succeeded_by(&self, issued: IssuedTokens, received_at: Timestamp, attempt_key: AttemptKey) -> Self {
        let (refresh_received_at, refresh_lifetime) = match (&issued.refresh_token, issued.refresh_lifetime.duration())
        {
            (Some(_), _) => (received_at, issued.refresh_lifetime),
            (None, None) => (self.refresh_received_at, self.refresh_lifetime),
            // What is stated counts from now on, and the receipt stays what it is.
            (None, Some(stated)) => {
                let age = received_at.duration_since(self.refresh_received_at).try_into().unwrap_or_default();
                (self.refresh_received_at, Lifetime::of(stated.saturating_add(age)))
            }
        };
        Self {
            session: self.session.clone(),
            generation: self.generation.next(),
            server: self.server.clone(),
            refresh_endpoint: self.refresh_endpoint.clone(),
            revocation_endpoint: self.revocation_endpoint.clone(),
            oauth: self.oauth.clone(),
            account: self.account.clone(),
            access_token: issued.access_token,
            refresh_token: issued.refresh_token.or_else(|| self.refresh_token.clone()),
            attempt_key,
            received_at,
            refresh_received_at,
            access_lifetime: issued.access_lifetime,
            refresh_lifetime,
        }
    }

    /// Returns whether `other` is this very save of this very login.
    pub fn is_same_save(&self, other: &Self) -> bool {
        self.session == other.session && self.generation == other.generation
    }

    /// Returns whether this is a later save of the login that `other` belongs to.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        self.session == other.session && self.generation > other.generation
    }

    /// Returns when the access token ends on the local clock, where that is known.
    pub fn access_token_expires_at(&self) -> Option<Timestamp> {
        expiry_of(self.received_at, self.access_lifetime)
    }

    /// Returns when the session ends unless it is refreshed, where that is known.
    pub fn refresh_token_expires_at(&self) -> Option<Timestamp> {
        expiry_of(self.refresh_received_at, self.refresh_lifetime)
    }
}

fn expiry_of(received_at: Timestamp, lifetime: Lifetime) -> Option<Timestamp> {
    let lifetime: Duration = lifetime.duration()?;
    received_at.checked_add(lifetime).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_redacted_when_debugged() {
        let secret = Secret::new("canary");
        assert_eq!(
            format!("{secret:?} {:?}", AttemptKey::from_saved("canary".into())),
            "[redacted] AttemptKey([redacted])"
        );
    }

    #[test]
    fn attempt_keys_are_visible_ascii_of_the_length_that_servers_honour() {
        let key = AttemptKey::random().unwrap();
        assert_eq!(key.expose().len(), 43);
        assert!(key.expose().bytes().all(|byte| byte.is_ascii_graphic()));
        assert_ne!(key.expose(), AttemptKey::random().unwrap().expose());
    }
}
