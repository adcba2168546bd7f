//! What an access token says of itself, where it is a JWT (RFC 7519, RFC 9068). Nobody has verified it: it is for people who
//! ask why they are refused, and nothing is decided by it.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::token::Secret;

/// The claims of an access token, in their own order.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// Returns what `token` says of itself; `None` where it is no JWT.
    pub fn unverified(token: &Secret) -> Option<Self> {
        jsonwebtoken::dangerous::insecure_decode_claims(token.expose()).ok().map(Self)
    }

    /// Returns all of them by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Returns them as one JSON object.
    pub fn as_json(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// Returns the moment that the claim `name` tells, if it is one of those that tell one (RFC 7519 section 4.1).
    pub fn moment(name: &str, value: &Value) -> Option<Timestamp> {
        if !["exp", "iat", "nbf", "auth_time"].contains(&name) {
            return None;
        }
        // Fractions are allowed, and of no interest.
        #[expect(clippy::cast_possible_truncation, reason = "a number out of range is refused by the next call")]
        Timestamp::from_second(value.as_f64()? as i64).ok()
    }

    /// Returns those that say whom the token is for, in one line, for a log.
    pub(crate) fn in_short(&self) -> String {
        let said = ["iss", "aud", "sub", "scope"].into_iter().filter_map(|name| {
            let value = self.0.get(name)?;
            Some(format!("{name} {value}"))
        });
        said.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwt_tells_its_claims_and_whatever_else_is_none_tells_nothing() {
        // {"alg":"HS256","typ":"JWT"} . {"userId":1,"iat":1000,"exp":1002} . any signature
        let jwt = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VySWQiOjEsImlhdCI6MTAwMCwiZXhwIjoxMDAyfQ.c2ln";
        let claims = Claims::unverified(&Secret::new(jwt)).unwrap();
        assert_eq!(claims.as_json(), serde_json::json!({"userId": 1, "iat": 1000, "exp": 1002}));
        let exp = claims.iter().find_map(|(name, value)| Claims::moment(name, value).filter(|_| name == "exp"));
        assert_eq!(exp.unwrap().to_string(), "1970-01-01T00:16:42Z");
        for text in ["", "opaque", "a.b.c", "eyJ9.W10.c2ln"] {
            assert_eq!(Claims::unverified(&Secret::new(text)), None, "{text}");
        }
    }
}
