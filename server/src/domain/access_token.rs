//! The access token: a JWT signed with Ed25519 ([RFC 9068](https://www.rfc-editor.org/rfc/rfc9068)).
//!
//! Verification is an explicit list ([RFC 8725](https://www.rfc-editor.org/rfc/rfc8725)): size, `typ`, `alg`, a `kid` of
//! ours, signature, `iss`, `aud`, a user and a session, and `exp` without leeway. Each claim counts once and has one
//! form. Whatever else a header says (`jku`, `jwk`, `x5u`) is never looked at, and one that says `crit` is refused.
//!
//! Whether the session still lives is not decided here.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::lifetimes::UnixMillis;
use super::refresh_token::SessionId;
use super::user::UserId;

/// A longer text is refused before it is looked at.
pub const MAX_ACCESS_TOKEN_BYTES: usize = 8 * 1024;

/// [RFC 9068 section 2.1](https://www.rfc-editor.org/rfc/rfc9068#section-2.1).
const TYPE: &str = "at+jwt";
/// Who signs; the keys belong to one database, so it need not tell servers apart.
const ISSUER: &str = "authcli-server";
/// Who the token is for: this server's own API.
const AUDIENCE: &str = "authcli-server";

/// The name of a signing key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(pub String);

/// The claims of an access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    iss: String,
    aud: String,
    sub: String,
    sid: String,
    jti: String,
    iat: i64,
    exp: i64,
    /// The user's number, under the name that clients of the first hour read.
    #[serde(rename = "userId")]
    user_id: UserId,
}

/// Why an access token is refused. Clients are told only that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessTokenError {
    /// Longer than any of ours.
    #[error("the access token is too long")]
    TooLong,
    /// It names a key that is not (or not yet, or no longer) among those that verify.
    #[error("the access token names an unknown key")]
    UnknownKey,
    /// Not one that this server signed, or not an access token.
    #[error("the access token is not one of ours")]
    NotGenuine,
    /// Its time is over.
    #[error("the access token has expired")]
    Expired,
}

impl AccessClaims {
    /// Returns the claims of a token made at `now` that lives for `lifetime`, rounded up to a whole second.
    pub fn new(user_id: UserId, session: SessionId, token_id: String, now: UnixMillis, lifetime: Duration) -> Self {
        Self {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: user_id.to_string(),
            sid: session.to_string(),
            jti: token_id,
            iat: now.floor_seconds(),
            exp: now.plus(lifetime).ceil_seconds(),
            user_id,
        }
    }
}

/// What a genuine access token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    /// The user that it speaks for.
    pub user_id: UserId,
    /// The session that it was made in.
    pub session: SessionId,
    /// Its `exp`, in seconds since 1970.
    expires_at: i64,
}

impl VerifiedToken {
    /// Refuses a token whose time is over at `now`; there is no leeway.
    pub fn check_expiry(&self, now: UnixMillis) -> Result<(), AccessTokenError> {
        if now.floor_seconds() >= self.expires_at { Err(AccessTokenError::Expired) } else { Ok(()) }
    }
}

impl TryFrom<AccessClaims> for VerifiedToken {
    type Error = AccessTokenError;

    fn try_from(claims: AccessClaims) -> Result<Self, Self::Error> {
        let session = SessionId::parse(&claims.sid).ok_or(AccessTokenError::NotGenuine)?;
        if claims.sub != claims.user_id.to_string() {
            return Err(AccessTokenError::NotGenuine);
        }
        Ok(Self { user_id: claims.user_id, session, expires_at: claims.exp })
    }
}

/// The key that new tokens are signed with.
#[derive(Clone)]
pub struct SigningKey {
    id: KeyId,
    key: EncodingKey,
}

impl SigningKey {
    /// Returns the signing key in this PKCS #8 document.
    pub fn from_pkcs8(id: KeyId, pkcs8: &[u8]) -> Self {
        Self { id, key: EncodingKey::from_ed_der(pkcs8) }
    }

    /// Returns its name.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Returns the signed token.
    pub fn sign(&self, claims: &AccessClaims) -> Result<String, jsonwebtoken::errors::Error> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(self.id.0.clone());
        jsonwebtoken::encode(&header, claims, &self.key)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Returns the name of the key that a token says it was signed with: anybody's word.
pub fn key_named_by(token: &str) -> Option<KeyId> {
    jsonwebtoken::decode_header(token).ok()?.kid.map(KeyId)
}

/// The public keys whose tokens are accepted, by name.
#[derive(Clone, Default)]
pub struct VerifyingKeys(HashMap<KeyId, DecodingKey>);

impl VerifyingKeys {
    /// Accepts tokens of this raw Ed25519 public key.
    pub fn insert(&mut self, id: KeyId, public_key: &[u8]) {
        self.0.insert(id, DecodingKey::from_ed_der(public_key));
    }

    /// Returns what a genuine token says. Its expiry is still to be checked, by the database's clock.
    pub fn verify(&self, token: &str) -> Result<VerifiedToken, AccessTokenError> {
        if token.len() > MAX_ACCESS_TOKEN_BYTES {
            return Err(AccessTokenError::TooLong);
        }
        let refuse = |_| AccessTokenError::NotGenuine;
        let header = jsonwebtoken::decode_header(token).map_err(refuse)?;
        if header.typ.as_deref() != Some(TYPE) || header.alg != Algorithm::EdDSA || header.crit.is_some() {
            return Err(AccessTokenError::NotGenuine);
        }
        let kid = header.kid.ok_or(AccessTokenError::NotGenuine)?;
        let key = self.0.get(&KeyId(kid)).ok_or(AccessTokenError::UnknownKey)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // By this machine's clock and in whole seconds; `check_expiry` does it by the database's.
        validation.validate_exp = false;
        validation.leeway = 0;
        jsonwebtoken::decode::<AccessClaims>(token, key, &validation).map_err(refuse)?.claims.try_into()
    }
}

impl fmt::Debug for VerifyingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests;
