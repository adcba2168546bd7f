//! The attempt key: what lets a client repeat a refresh whose answer was lost.
//!
//! It comes as `Idempotency-Key`. Only its keyed hash is kept, so a database in strange hands does not tell it.

use std::fmt;

use aws_lc_rs::hmac;
use secrecy::{ExposeSecret as _, SecretString};

/// An attempt key that a client sent, or that the server made for a client that sent none.
#[derive(Clone, Debug)]
pub struct AttemptKey(SecretString);

impl AttemptKey {
    const SHORTEST: usize = 16;
    const LONGEST: usize = 128;

    /// Returns the key that a header value holds; anything but 16 to 128 visible ASCII characters is none.
    pub fn parse(header: &[u8]) -> Option<Self> {
        let fits = (Self::SHORTEST..=Self::LONGEST).contains(&header.len());
        if !fits || !header.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        std::str::from_utf8(header).ok().map(|text| Self(SecretString::from(text)))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

impl From<String> for AttemptKey {
    /// Takes a key that the server made itself.
    fn from(text: String) -> Self {
        Self(SecretString::from(text))
    }
}

/// The form in which an attempt key is kept and compared.
///
/// Comparing it needs no constant time: who can choose its input does not know the key it was made under.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AttemptHash([u8; 32]);

impl AttemptHash {
    pub(super) fn from_tag(tag: &hmac::Tag) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(tag.as_ref());
        Self(bytes)
    }

    /// Returns the hash that these stored bytes are.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns the bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for AttemptHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AttemptHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_visible_ascii_of_a_sensible_length_is_a_key() {
        let parse = |text: &str| AttemptKey::parse(text.as_bytes()).is_some();
        assert!(parse(&"k".repeat(16)));
        assert!(parse(&"k".repeat(128)));
        assert!(!parse(""));
        assert!(!parse(&"k".repeat(15)));
        assert!(!parse(&"k".repeat(129)));
        assert!(!parse("sixteen letters "));
        assert!(!parse("sixteen\tletters!"));
        assert!(!parse("sechzehn Zeichen"));
        assert!(!parse("sechzehnZeichenß"));
    }

    #[test]
    fn debug_shows_nothing_of_it() {
        let key = AttemptKey::parse(b"canary-canary-canary").unwrap();
        assert!(!format!("{key:?}").contains("canary"));
    }
}
