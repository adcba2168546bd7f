//! Who logged in, as the ID token tells it.
//!
//! Its signature is not checked: it came from the token endpoint over TLS, which stands for it (OpenID Connect Core
//! section 3.1.3.7, point 6). Issuer, audience and nonce are, so that a server cannot be made to hand out another's login.
//! Its times are not: what is kept are the tokens beside it, and the local clock may be wrong.

use serde::Deserialize;

use super::error::OauthError;
use crate::renewal::answer::brief;
use crate::token::Secret;

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    #[serde(default)]
    nonce: Option<String>,
    #[serde(default)]
    preferred_username: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    sub: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// What an ID token must say to be for this login.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    /// The nonce of the authorization request, where one was sent.
    pub(super) nonce: Option<&'a str>,
    /// Who is blamed.
    pub(super) origin: &'a str,
}

/// Checks an ID token, and returns what people call the account.
pub(super) fn account(id_token: &Secret, expected: &Expected<'_>) -> Result<Option<String>, OauthError> {
    let foreign = |why| OauthError::ForeignIdToken { origin: expected.origin.to_owned(), why };
    let claims: Claims =
        jsonwebtoken::dangerous::insecure_decode_claims(id_token.expose()).map_err(|_| foreign("it cannot be read"))?;
    if claims.iss != expected.issuer {
        return Err(foreign("its `iss` is another issuer"));
    }
    let is_for_us = match &claims.aud {
        Audience::One(audience) => audience == expected.client_id,
        Audience::Many(audiences) => audiences.iter().any(|audience| audience == expected.client_id),
    };
    if !is_for_us {
        return Err(foreign("its `aud` is another client"));
    }
    if expected.nonce.is_some() && claims.nonce.as_deref() != expected.nonce {
        return Err(foreign("its `nonce` is that of another login"));
    }
    let names = [claims.preferred_username, claims.email, claims.sub];
    Ok(names.into_iter().flatten().map(|name| brief(name.trim())).find(|name| !name.is_empty()))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::*;

    fn account_in(claims: &Value, nonce: Option<&str>) -> Result<Option<String>, OauthError> {
        let parts = [json!({"alg": "RS256"}), claims.clone()].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let token = Secret::new(format!("{}.{}.c2ln", parts[0], parts[1]));
        account(&token, &Expected { issuer: "https://h", client_id: "cli", nonce, origin: "https://h" })
    }

    #[test]
    fn the_account_is_called_as_people_call_it() {
        for (claims, expected) in [
            (json!({"sub": "42", "email": "a@b", "preferred_username": "ann"}), Some("ann")),
            (json!({"sub": "42", "email": "a@b", "preferred_username": ""}), Some("a@b")),
            (json!({"sub": "4\u{1b}[31m2"}), Some("4[31m2")),
            (json!({}), None),
        ] {
            let mut claims = claims;
            claims["iss"] = "https://h".into();
            claims["aud"] = json!(["other", "cli"]);
            assert_eq!(account_in(&claims, None).unwrap().as_deref(), expected, "{claims}");
        }
    }

    #[test]
    fn a_token_for_another_login_is_refused() {
        let good = json!({"iss": "https://h", "aud": "cli", "nonce": "n", "sub": "42"});
        assert!(account_in(&good, Some("n")).is_ok());
        for (name, value) in [
            ("iss", json!("https://h/")),
            ("iss", json!(null)),
            ("aud", json!("other")),
            ("aud", json!([])),
            ("nonce", json!("m")),
            ("nonce", json!(null)),
        ] {
            let mut claims = good.clone();
            claims[name] = value;
            assert!(account_in(&claims, Some("n")).is_err(), "{claims}");
        }
    }
}
