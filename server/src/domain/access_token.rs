//! The access token: a JWT signed with Ed25519 ([RFC 9068](https://www.rfc-editor.org/rfc/rfc9068)).
//!
//! Verification is an explicit list ([RFC 8725](https://www.rfc-editor.org/rfc/rfc8725)): size, `typ`, `alg`, a `kid` of
//! ours, signature, `iss`, `aud`, `exp` without leeway. Whatever else a header says (`jku`, `jwk`, `x5u`) is never looked
//! at. Whether the session still lives is not decided here.

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

    /// Returns the user that it speaks for.
    pub fn user_id(&self) -> UserId {
        self.user_id
    }

    /// Returns the session that it was made in.
    pub fn session(&self) -> Result<SessionId, AccessTokenError> {
        SessionId::parse(&self.sid).ok_or(AccessTokenError::NotGenuine)
    }

    /// Refuses a token whose time is over at `now`; there is no leeway.
    pub fn check_expiry(&self, now: UnixMillis) -> Result<(), AccessTokenError> {
        if now.floor_seconds() >= self.exp { Err(AccessTokenError::Expired) } else { Ok(()) }
    }
}

/// The key that new tokens are signed with.
pub struct SigningKey {
    id: KeyId,
    key: EncodingKey,
}

impl SigningKey {
    /// Returns the signing key in this PKCS #8 document.
    pub fn from_pkcs8(id: KeyId, pkcs8: &[u8]) -> Self {
        Self { id, key: EncodingKey::from_ed_der(pkcs8) }
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

/// The public keys whose tokens are accepted, by name.
#[derive(Default)]
pub struct VerifyingKeys(HashMap<KeyId, DecodingKey>);

impl VerifyingKeys {
    /// Accepts tokens of this raw Ed25519 public key.
    pub fn insert(&mut self, id: KeyId, public_key: &[u8]) {
        self.0.insert(id, DecodingKey::from_ed_der(public_key));
    }

    /// Returns the claims of a genuine token. Its expiry is still to be checked, by the database's clock.
    pub fn verify(&self, token: &str) -> Result<AccessClaims, AccessTokenError> {
        if token.len() > MAX_ACCESS_TOKEN_BYTES {
            return Err(AccessTokenError::TooLong);
        }
        let refuse = |_| AccessTokenError::NotGenuine;
        let header = jsonwebtoken::decode_header(token).map_err(refuse)?;
        if header.typ.as_deref() != Some(TYPE) || header.crit.is_some() {
            return Err(AccessTokenError::NotGenuine);
        }
        let key = header.kid.and_then(|kid| self.0.get(&KeyId(kid))).ok_or(AccessTokenError::NotGenuine)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // By this machine's clock and in whole seconds; `check_expiry` does it by the database's.
        validation.validate_exp = false;
        validation.leeway = 0;
        let claims = jsonwebtoken::decode::<AccessClaims>(token, key, &validation).map_err(refuse)?.claims;
        if claims.sub == claims.user_id.to_string() { Ok(claims) } else { Err(AccessTokenError::NotGenuine) }
    }
}

impl fmt::Debug for VerifyingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use serde_json::{Value, json};

    use super::*;

    struct Keys {
        pkcs8: Vec<u8>,
        signing: SigningKey,
        verifying: VerifyingKeys,
    }

    fn keys() -> Keys {
        let pair = Ed25519KeyPair::generate().unwrap();
        let pkcs8 = pair.to_pkcs8v1().unwrap().as_ref().to_vec();
        let id = KeyId("k1".to_owned());
        let mut verifying = VerifyingKeys::default();
        verifying.insert(id.clone(), pair.public_key().as_ref());
        Keys { signing: SigningKey::from_pkcs8(id, &pkcs8), verifying, pkcs8 }
    }

    fn claims() -> AccessClaims {
        let now = UnixMillis(1_000_400);
        let life = Duration::from_secs(2);
        AccessClaims::new(UserId(7), SessionId([3; 16]), "j".to_owned(), now, life)
    }

    #[test]
    fn what_was_signed_is_read_back() {
        let keys = keys();
        let token = keys.signing.sign(&claims()).unwrap();
        assert_eq!(keys.verifying.verify(&token), Ok(claims()));
        assert_eq!(claims().session(), Ok(SessionId([3; 16])));
    }

    #[test]
    fn it_ends_at_the_next_whole_second_without_leeway() {
        let claims = claims();
        assert_eq!(claims.check_expiry(UnixMillis(1_002_999)), Ok(()));
        assert_eq!(claims.check_expiry(UnixMillis(1_003_000)), Err(AccessTokenError::Expired));
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed() {
        let keys = keys();
        let token = keys.signing.sign(&claims()).unwrap().into_bytes();
        for at in 0..token.len() {
            for bit in 0..7 {
                let mut forged = token.clone();
                forged[at] ^= 1 << bit;
                let forged = String::from_utf8(forged).unwrap();
                assert!(keys.verifying.verify(&forged).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn only_our_kind_of_token_is_accepted() {
        let keys = keys();
        let signed = |header: Header, claims: &Value| {
            let key = EncodingKey::from_ed_der(&keys.pkcs8);
            jsonwebtoken::encode(&header, claims, &key).unwrap()
        };
        let header = |typ: &str, kid: Option<&str>| {
            let mut header = Header::new(Algorithm::EdDSA);
            header.typ = Some(typ.to_owned());
            header.kid = kid.map(str::to_owned);
            header
        };
        let with = |field: &str, value: Value| {
            let mut changed = serde_json::to_value(claims()).unwrap();
            changed[field] = value;
            changed
        };
        let good = serde_json::to_value(claims()).unwrap();
        let ours = || header(TYPE, Some("k1"));
        assert!(keys.verifying.verify(&signed(ours(), &good)).is_ok());

        let mut critical = ours();
        critical.crit = Some(vec!["exp".to_owned()]);
        let refused = [
            signed(header("JWT", Some("k1")), &good),
            signed(header(TYPE, None), &good),
            signed(header(TYPE, Some("../k1")), &good),
            signed(critical, &good),
            signed(ours(), &with("iss", json!("someone"))),
            signed(ours(), &with("aud", json!("elsewhere"))),
            signed(ours(), &with("aud", Value::Null)),
            signed(ours(), &with("exp", Value::Null)),
            signed(ours(), &with("userId", json!(8))),
            signed(ours(), &with("userId", json!("7"))),
            "a".repeat(MAX_ACCESS_TOKEN_BYTES + 1),
            String::new(),
        ];
        for token in refused {
            assert!(keys.verifying.verify(&token).is_err(), "{token}");
        }
    }

    #[test]
    fn unsigned_and_symmetric_tokens_are_refused() {
        let keys = keys();
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let body = part(serde_json::to_value(claims()).unwrap());
        let none = part(json!({"typ": TYPE, "alg": "none", "kid": "k1"}));
        assert!(keys.verifying.verify(&format!("{none}.{body}.")).is_err());

        let pair = Ed25519KeyPair::from_pkcs8(&keys.pkcs8).unwrap();
        let secret = EncodingKey::from_secret(pair.public_key().as_ref());
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some("k1".to_owned());
        let confused = jsonwebtoken::encode(&header, &claims(), &secret).unwrap();
        assert!(keys.verifying.verify(&confused).is_err());
    }
}
