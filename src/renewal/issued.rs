//! Tokens and lifetimes, however servers write them.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::expiry::Lifetime;
use crate::token::{IssuedTokens, Secret};

/// Returns `text` as a token that a header can carry. Some servers put the scheme before it.
pub(super) fn token(text: &str) -> Option<Secret> {
    let text = match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => text,
    };
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Secret::new(text))
}

/// Returns the lifetime that `stated` says in seconds, as a number or as a string; else the one that `token` itself
/// tells.
pub(super) fn lifetime(stated: Option<&Value>, token: Option<&Secret>) -> Lifetime {
    let seconds = match stated {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    match seconds.map_or(Lifetime::UNKNOWN, Lifetime::of_seconds) {
        Lifetime::UNKNOWN => token.map_or(Lifetime::UNKNOWN, |token| lifetime_of_jwt(token.expose())),
        stated => stated,
    }
}

/// Returns how long after its issue `token` becomes good, where it is a JWT that says so (RFC 7519 section 4.1.5).
pub(super) fn not_before(token: &Secret) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Times {
        iat: f64,
        nbf: f64,
    }
    let times = jsonwebtoken::dangerous::insecure_decode_claims::<Times>(token.expose()).ok()?;
    Lifetime::of_seconds(times.nbf - times.iat).duration()
}

/// Leaves out of `issued` what it repeats of `redeemed`: a refresh token that stays the same counts from its first receipt,
/// and so does the lifetime that it tells itself.
pub(super) fn without_repeated(mut issued: IssuedTokens, redeemed: &Secret) -> IssuedTokens {
    if issued.refresh_token.as_ref().is_some_and(|token| token.expose() == redeemed.expose()) {
        issued.refresh_token = None;
        if issued.refresh_lifetime == lifetime_of_jwt(redeemed.expose()) {
            issued.refresh_lifetime = Lifetime::UNKNOWN;
        }
    }
    issued
}

/// Returns `exp - iat` where `token` is a JWT that says both (RFC 7519 section 4.1). The signature is the server's
/// business: the claims only tell how long this program may expect the token to work.
fn lifetime_of_jwt(token: &str) -> Lifetime {
    #[derive(Deserialize)]
    struct Times {
        iat: f64,
        exp: f64,
    }
    jsonwebtoken::dangerous::insecure_decode_claims::<Times>(token)
        .map_or(Lifetime::UNKNOWN, |times| Lifetime::of_seconds(times.exp - times.iat))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lifetimes_are_read_however_servers_write_them() {
        for (stated, expected) in [
            (json!(2), Some(2_000)),
            (json!("2"), Some(2_000)),
            (json!(" 2 "), Some(2_000)),
            (json!(0.5), Some(500)),
            (json!(1e300), Some(3_162_240_000_000)),
            (json!(0), None),
            (json!(-5), None),
            (json!(null), None),
            (json!("soon"), None),
            (json!("inf"), None),
            (json!({}), None),
        ] {
            let lifetime = lifetime(Some(&stated), Some(&Secret::new("opaque")));
            assert_eq!(lifetime.duration().map(|life| life.as_millis()), expected, "{stated}");
        }
    }

    #[test]
    fn a_jwt_tells_its_own_lifetime_where_nothing_else_does() {
        // {"alg":"HS256","typ":"JWT"} . {"userId":1,"iat":1000,"exp":1002} . any signature
        let jwt =
            Secret::new("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VySWQiOjEsImlhdCI6MTAwMCwiZXhwIjoxMDAyfQ.c2ln");
        assert_eq!(lifetime(None, Some(&jwt)), Lifetime::of(Duration::from_secs(2)));
        assert_eq!(lifetime(Some(&json!(-1)), Some(&jwt)), Lifetime::of(Duration::from_secs(2)));
        assert_eq!(lifetime(Some(&json!(7)), Some(&jwt)), Lifetime::of(Duration::from_secs(7)));
        assert_eq!(lifetime(None, None), Lifetime::UNKNOWN);
    }

    #[test]
    fn a_token_is_what_a_header_can_carry() {
        for (text, expected) in [
            ("abc", Some("abc")),
            ("Bearer abc", Some("abc")),
            ("bearer  abc", Some("abc")),
            ("", None),
            ("Bearer ", None),
            ("a b", None),
            ("a\r\nX: y", None),
            ("ä", None),
        ] {
            assert_eq!(token(text).as_ref().map(Secret::expose), expected, "{text:?}");
        }
    }
}
