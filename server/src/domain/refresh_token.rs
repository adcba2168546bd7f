//! The refresh token: `acrt.1.<session>.<generation>.<tag>`.
//!
//! - Nothing of it is stored: the tag is an HMAC under a key derived from the server's pepper and the session's salt, so
//!   the server can make it again at any time, and a stolen database cannot.
//! - Any generation that was ever given out is recognisably genuine, and nothing else is.
//! - One token has one spelling: base64url without padding, no stray bits, no leading zeros.
//!
//! Whether a genuine token may still be used is not decided here; see [`decide`](super::decide).

use std::fmt;

use aws_lc_rs::{hkdf, hmac};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::SecretString;

use super::attempt_key::{AttemptHash, AttemptKey};

/// Marks our refresh tokens in logs, dumps and secret scanners. It must never change.
const PREFIX: &str = "acrt";
/// The format that this page describes.
const VERSION: u8 = 1;
/// A tag is one SHA-256 output.
const TAG_BYTES: usize = 32;

/// The public name of a session; not a secret, it is in every access token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub [u8; SessionId::BYTES]);

impl SessionId {
    /// The size of an id.
    pub const BYTES: usize = 16;

    /// Returns the id that `text` spells.
    pub fn parse(text: &str) -> Option<Self> {
        decode_exactly(text).map(Self)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// Counts the rotations of a session, from 0 at login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(i64);

impl Generation {
    /// The generation of the token that a login answers.
    pub const FIRST: Generation = Generation(0);

    /// Returns the generation with this number, if there can be one that has a successor.
    pub fn new(number: i64) -> Option<Self> {
        (0..i64::MAX).contains(&number).then_some(Self(number))
    }

    /// Returns its number.
    pub fn number(self) -> i64 {
        self.0
    }

    /// Returns the one after it.
    #[must_use]
    pub fn successor(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// What a refresh token says: which session, which generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshToken {
    /// The session that it belongs to.
    pub session: SessionId,
    /// The rotation that made it.
    pub generation: Generation,
}

/// A well-formed refresh token whose tag has not been checked yet.
///
/// Claim and tag together are the secret itself, so `Debug` shows the claim alone, and nothing compares two of them.
#[derive(Clone)]
pub struct PresentedRefreshToken {
    claimed: RefreshToken,
    tag: [u8; TAG_BYTES],
}

impl fmt::Debug for PresentedRefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedRefreshToken").field("claimed", &self.claimed).finish_non_exhaustive()
    }
}

/// The text is not a refresh token of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a refresh token of this server")]
pub struct MalformedRefreshToken;

impl PresentedRefreshToken {
    /// Reads a token strictly, without judging whether it is genuine.
    pub fn parse(text: &str) -> Result<Self, MalformedRefreshToken> {
        let mut parts = text.split('.');
        let mut next = || parts.next().ok_or(MalformedRefreshToken);
        if next()? != PREFIX || next()? != VERSION.to_string() {
            return Err(MalformedRefreshToken);
        }
        let session = SessionId::parse(next()?).ok_or(MalformedRefreshToken)?;
        let number = decode_exactly(next()?).ok_or(MalformedRefreshToken)?;
        let generation = Generation::new(i64::from_be_bytes(number)).ok_or(MalformedRefreshToken)?;
        let tag: [u8; TAG_BYTES] = decode_exactly(next()?).ok_or(MalformedRefreshToken)?;
        if parts.next().is_some() {
            return Err(MalformedRefreshToken);
        }
        Ok(Self { claimed: RefreshToken { session, generation }, tag })
    }

    /// Returns the session that it claims to belong to: good for finding the row, for nothing else.
    pub fn claimed_session(&self) -> SessionId {
        self.claimed.session
    }
}

/// The keys of one session, derived from the pepper and the row's salt.
pub struct SessionKey {
    tag: hmac::Key,
    attempt: hmac::Key,
}

impl SessionKey {
    /// Derives the keys of the session whose row holds `salt`.
    ///
    /// # Panics
    ///
    /// Never: HKDF fails only where more output is asked for than it has.
    pub fn derive(pepper: &[u8], salt: &[u8]) -> Self {
        let pseudo_random_key = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(pepper);
        let derive = |purpose: &[u8]| {
            #[expect(clippy::expect_used, reason = "HKDF fails only beyond 255 blocks; this asks for one")]
            pseudo_random_key.expand(&[purpose], hmac::HMAC_SHA256).map(hmac::Key::from).expect("one block of output")
        };
        Self { tag: derive(b"authcli-server refresh token v1"), attempt: derive(b"authcli-server attempt key v1") }
    }

    /// Returns the one spelling of `token`.
    pub fn sign(&self, token: RefreshToken) -> SecretString {
        let tag = hmac::sign(&self.tag, &signed_bytes(token));
        let session = token.session;
        let generation = URL_SAFE_NO_PAD.encode(token.generation.number().to_be_bytes());
        let tag = URL_SAFE_NO_PAD.encode(tag.as_ref());
        SecretString::from(format!("{PREFIX}.{VERSION}.{session}.{generation}.{tag}"))
    }

    /// Returns what `presented` says, if this server made it; compares in constant time.
    pub fn verify(&self, presented: &PresentedRefreshToken) -> Option<RefreshToken> {
        hmac::verify(&self.tag, &signed_bytes(presented.claimed), &presented.tag).ok()?;
        Some(presented.claimed)
    }

    /// Returns the form in which an attempt is kept: the key together with the generation that it redeems. A key beside
    /// another token than its own is another attempt, so it cannot make a stolen token look like a late duplicate.
    pub fn hash_attempt(&self, redeemed: Generation, key: &AttemptKey) -> AttemptHash {
        let mut context = hmac::Context::with_key(&self.attempt);
        context.update(&redeemed.number().to_be_bytes());
        context.update(key.as_bytes());
        AttemptHash::from_tag(&context.sign())
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

/// What the tag covers, in fixed width: no two tokens share these bytes.
fn signed_bytes(token: RefreshToken) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PREFIX.len() + 1 + SessionId::BYTES + 8);
    bytes.extend_from_slice(PREFIX.as_bytes());
    bytes.push(VERSION);
    bytes.extend_from_slice(&token.session.0);
    bytes.extend_from_slice(&token.generation.number().to_be_bytes());
    bytes
}

fn decode_exactly<const N: usize>(text: &str) -> Option<[u8; N]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    use super::*;

    const PEPPER: &[u8] = &[7; 32];

    fn token(session: [u8; 16], generation: i64) -> RefreshToken {
        let generation = Generation::new(generation).unwrap();
        RefreshToken { session: SessionId(session), generation }
    }

    #[test]
    fn other_spellings_are_refused() {
        let key = SessionKey::derive(PEPPER, b"salt");
        let text = key.sign(token([0; 16], 0)).expose_secret().to_owned();
        assert!(PresentedRefreshToken::parse(&text).is_ok());
        let parts: Vec<&str> = text.split('.').collect();
        let wrong = [
            String::new(),
            "eyJ.eyJ.sig".to_owned(),
            format!("{text}."),
            format!("{text}="),
            format!(" {text}"),
            text.replacen("acrt", "ACRT", 1),
            text.replacen("acrt.1", "acrt.01", 1),
            text.replacen("acrt.1", "acrt.2", 1),
            // The same sixteen zero bytes with a stray bit set in the padding of the last letter.
            text.replacen(parts[2], "AAAAAAAAAAAAAAAAAAAAAB", 1),
            // A negative generation.
            text.replacen(&format!(".{}.", parts[3]), ".__________8.", 1),
        ];
        for text in wrong {
            assert_eq!(PresentedRefreshToken::parse(&text).unwrap_err(), MalformedRefreshToken, "{text}");
        }
    }

    #[test]
    fn another_pepper_or_salt_makes_another_token() {
        let ours = SessionKey::derive(PEPPER, b"salt");
        let presented = PresentedRefreshToken::parse(ours.sign(token([1; 16], 3)).expose_secret()).unwrap();
        assert!(ours.verify(&presented).is_some());
        assert!(SessionKey::derive(&[8; 32], b"salt").verify(&presented).is_none());
        assert!(SessionKey::derive(PEPPER, b"tlas").verify(&presented).is_none());
    }

    proptest! {
        #[test]
        fn what_was_signed_is_read_back(session: [u8; 16], generation in 0..i64::MAX) {
            let key = SessionKey::derive(PEPPER, b"salt");
            let token = token(session, generation);
            let text = key.sign(token);
            let presented = PresentedRefreshToken::parse(text.expose_secret()).unwrap();
            prop_assert_eq!(key.verify(&presented), Some(token));
        }

        #[test]
        fn no_changed_letter_goes_unnoticed(position: prop::sample::Index, letter in "[A-Za-z0-9_.-]") {
            let key = SessionKey::derive(PEPPER, b"salt");
            let text = key.sign(token([9; 16], 41)).expose_secret().to_owned();
            let at = position.index(text.len());
            let mut forged = text.clone();
            forged.replace_range(at..=at, &letter);
            let genuine = PresentedRefreshToken::parse(&forged)
                .ok()
                .and_then(|presented| key.verify(&presented));
            prop_assert_eq!(genuine.is_some(), forged == text);
        }

        /// As a token of ours is put together, but for one thing or another.
        #[test]
        fn nearly_genuine_tokens_are_none(
            prefix in prop_oneof![8 => Just("acrt"), 1 => Just("acr"), 1 => Just("acrt ")],
            version in prop_oneof![8 => Just("1"), 1 => Just("2"), 1 => Just("01"), 1 => Just("")],
            lengths in (prop_oneof![8 => Just(16), 1 => 14..19_usize], prop_oneof![8 => Just(32), 1 => 30..35_usize]),
            generation in prop_oneof![8 => Just(41_u64), 1 => any::<u64>()],
            generation_length in prop_oneof![8 => Just(8), 1 => 0..10_usize],
            alphabets in prop::array::uniform3(prop_oneof![8 => Just(0), 1 => 1..4_usize]),
            stray_bits in prop_oneof![4 => Just(None), 1 => (0..3_usize, 1..4_usize).prop_map(Some)],
        ) {
            let key = SessionKey::derive(PEPPER, b"salt");
            let genuine = key.sign(token([251; 16], 41)).expose_secret().to_owned();
            let tag = URL_SAFE_NO_PAD.decode(genuine.rsplit('.').next().unwrap()).unwrap();
            let fitted = |bytes: &[u8], length: usize| -> Vec<u8> { bytes.iter().copied().cycle().take(length).collect() };
            let parts = [
                fitted(&[251; 16], lengths.0),
                fitted(&generation.to_be_bytes(), generation_length),
                fitted(&tag, lengths.1),
            ];
            let mut parts = [0, 1, 2].map(|at| {
                [&URL_SAFE_NO_PAD, &STANDARD_NO_PAD, &URL_SAFE, &STANDARD][alphabets[at]].encode(&parts[at])
            });
            // What the last letter says beyond the last byte.
            if let Some((at, bits)) = stray_bits
                && let Some(last) = parts[at].pop()
            {
                let letters = base64::alphabet::URL_SAFE.as_str();
                let other = letters.find(last).map(|place| char::from(letters.as_bytes()[place ^ bits]));
                parts[at].push(other.unwrap_or(last));
            }
            let text = format!("{prefix}.{version}.{}", parts.join("."));
            let verified = PresentedRefreshToken::parse(&text).ok().and_then(|presented| key.verify(&presented));
            prop_assert_eq!(verified, (text == genuine).then(|| token([251; 16], 41)));
        }

        #[test]
        fn no_text_makes_the_parser_fail(text in ".*") {
            let _ = PresentedRefreshToken::parse(&text);
        }
    }
}
