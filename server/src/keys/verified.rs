//! Access tokens that were found genuine, so that a signature is checked once and not at every call.
//!
//! - A token is remembered by its SHA-256 alone, so nothing here can be used as one.
//! - There are at most [`CAPACITY`] of them, each of a fixed size. Only genuine tokens get in: forgers crowd nobody out.
//! - What is remembered is that a key of ours signed it and what it says; whether it has expired and whether its session
//!   lives is asked each time.

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use quick_cache::sync::Cache;

use crate::domain::VerifiedToken;

/// A session has one or two tokens that live.
const CAPACITY: usize = 32 * 1024;

/// What a token is remembered by.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenDigest([u8; SHA256_OUTPUT_LEN]);

impl TokenDigest {
    pub(super) fn of(token: &str) -> Self {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }
}

/// The genuine tokens of late.
pub(super) struct VerifiedTokens(Cache<TokenDigest, VerifiedToken>);

impl Default for VerifiedTokens {
    fn default() -> Self {
        Self(Cache::new(CAPACITY))
    }
}

impl VerifiedTokens {
    pub(super) fn get(&self, digest: &TokenDigest) -> Option<VerifiedToken> {
        self.0.get(digest)
    }

    pub(super) fn insert(&self, digest: TokenDigest, token: VerifiedToken) {
        self.0.insert(digest, token);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{AccessClaims, SessionId, UnixMillis, UserId};

    #[test]
    fn however_many_tokens_are_genuine_no_more_are_remembered_than_there_is_room_for() {
        let id = SessionId([1; SessionId::BYTES]);
        let claims = AccessClaims::new(UserId(1), id, String::new(), UnixMillis(0), Duration::from_mins(15));
        let token = VerifiedToken::try_from(claims).unwrap();
        let tokens = VerifiedTokens::default();
        for number in 0..2 * CAPACITY {
            let digest = TokenDigest::of(&number.to_string());
            tokens.insert(digest, token);
            assert!(tokens.get(&digest).is_some(), "the latest is remembered");
            assert!(tokens.0.len() <= CAPACITY, "{} after {number}", tokens.0.len());
        }
        assert!(tokens.0.len() > CAPACITY / 2, "{}", tokens.0.len());
    }
}
