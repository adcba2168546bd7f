//! Reading the answers of login and refresh endpoints.
//!
//! Nothing of an answer's content is ever repeated in an error, except the text under `error`, cut and stripped: that is
//! what servers write for people.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Response, StatusCode};
use secrecy::zeroize::Zeroizing;
use serde::Deserialize;
use serde_json::Value;

use super::RenewalFault;
use crate::expiry::Lifetime;
use crate::http::retry_after;
use crate::token::{IssuedTokens, Secret};

/// Answers with tokens are short; what is longer is none of them.
const LONGEST_ANSWER: usize = 256 * 1024;
const LONGEST_REASON: usize = 200;

/// A whole answer.
pub(super) struct Answer {
    pub(super) url: String,
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    body: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// Reads `response` to its end.
    pub(super) async fn read(mut response: Response, now: Timestamp) -> Result<Self, RenewalFault> {
        let url = response.url().to_string();
        let origin = response.url().origin().ascii_serialization();
        let status = response.status();
        let retry_after = retry_after(&response, now);
        let mut body = Zeroizing::new(Vec::new());
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= LONGEST_ANSWER => body.extend_from_slice(&chunk),
                Ok(Some(_)) => {
                    let what = format!("more than {} KiB", LONGEST_ANSWER / 1024);
                    return Err(RenewalFault::Nonsense { url, status, what });
                }
                Ok(None) => return Ok(Self { url, status, retry_after, body }),
                Err(cause) => return Err(RenewalFault::NoAnswer { origin, cause: cause.without_url() }),
            }
        }
    }

    /// Returns the tokens in a successful answer.
    pub(super) fn tokens(&self) -> Result<IssuedTokens, RenewalFault> {
        let value: Value = serde_json::from_slice(&self.body).map_err(|_| self.nonsense("a body that is not JSON"))?;
        let keys = match &value {
            Value::Object(object) => object.keys().map(|key| printable(key)).collect::<Vec<_>>().join(", "),
            _ => return Err(self.nonsense("JSON that is not an object")),
        };
        let fields: Fields = serde_json::from_value(value)
            .map_err(|_| self.nonsense(&format!("no usable `accessToken` (its keys: {keys})")))?;
        let access_token = Zeroizing::new(fields.access_token);
        if access_token.is_empty() || !access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(self.nonsense("an `accessToken` that no header can carry"));
        }
        let stated = seconds(fields.expires_in.as_ref());
        Ok(IssuedTokens {
            access_lifetime: if stated == Lifetime::UNKNOWN { lifetime_of_jwt(&access_token) } else { stated },
            refresh_lifetime: match (seconds(fields.refresh_expires_in.as_ref()), &fields.refresh_token) {
                (Lifetime::UNKNOWN, Some(token)) => lifetime_of_jwt(token),
                (stated, _) => stated,
            },
            access_token: Secret::new(access_token.as_str()),
            refresh_token: fields.refresh_token.filter(|token| !token.is_empty()).map(Secret::new),
        })
    }

    /// Returns what the server wrote under `error`, if the body is a JSON object that says something there. Words that
    /// repeat one of `secrets` are left out.
    pub(super) fn error_text(&self, secrets: &[&str]) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        match body.as_object()?.get("error")? {
            // What says nothing is no refusal: gateways put such fields beside any answer.
            Value::Null | Value::Bool(false) => None,
            Value::String(text) if text.trim().is_empty() => None,
            Value::String(text) if !secrets.iter().any(|secret| text.contains(secret)) => Some(printable(text)),
            _ => Some(format!("answered {}", self.status)),
        }
    }

    /// Returns the fault for an answer that no rule covers.
    pub(super) fn unexpected(&self) -> RenewalFault {
        if self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS {
            return RenewalFault::Status { url: self.url.clone(), status: self.status };
        }
        self.nonsense("no JSON object with an `error` in it")
    }

    /// Returns the fault for an answer with `code` under `error`.
    pub(super) fn refusal(&self, code: String) -> RenewalFault {
        RenewalFault::Refused { url: self.url.clone(), status: self.status, code }
    }

    fn nonsense(&self, what: &str) -> RenewalFault {
        RenewalFault::Nonsense { url: self.url.clone(), status: self.status, what: what.to_owned() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    access_token: String,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    expires_in: Option<Value>,
    #[serde(default)]
    refresh_expires_in: Option<Value>,
}

/// Reads a lifetime in seconds; servers write it as a number or as a string.
fn seconds(value: Option<&Value>) -> Lifetime {
    let seconds = match value {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    seconds.map_or(Lifetime::UNKNOWN, Lifetime::of_seconds)
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

/// Returns `text` fit for one line of a terminal: no control characters, not too long.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(LONGEST_REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            url: "http://h/refresh".into(),
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            body: Zeroizing::new(body.as_bytes().to_vec()),
        }
    }

    #[test]
    fn lifetimes_are_read_however_servers_write_them() {
        for (field, expected) in [
            ("2", Some(2_000)),
            ("\"2\"", Some(2_000)),
            ("0.5", Some(500)),
            ("0", None),
            ("-5", None),
            ("null", None),
            ("\"soon\"", None),
            ("{}", None),
        ] {
            let body = format!("{{\"accessToken\":\"a\",\"expiresIn\":{field}}}");
            let tokens = answer(200, &body).tokens().unwrap();
            assert_eq!(tokens.access_lifetime.duration().map(|life| life.as_millis()), expected, "{field}");
            assert!(tokens.refresh_token.is_none());
        }
    }

    #[test]
    fn a_jwt_tells_its_own_lifetime() {
        // {"alg":"HS256","typ":"JWT"} . {"userId":1,"iat":1000,"exp":1002} . any signature
        let jwt = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1c2VySWQiOjEsImlhdCI6MTAwMCwiZXhwIjoxMDAyfQ.c2ln";
        let tokens =
            answer(200, &format!("{{\"accessToken\":\"{jwt}\",\"refreshToken\":\"{jwt}\"}}")).tokens().unwrap();
        assert_eq!(tokens.access_lifetime, Lifetime::of(Duration::from_secs(2)));
        assert_eq!(tokens.refresh_lifetime, Lifetime::of(Duration::from_secs(2)));
    }

    #[test]
    fn nonsense_is_named_by_its_keys_and_never_by_its_values() {
        for (body, expected) in [
            ("<html>canary</html>", "a body that is not JSON"),
            ("[\"canary\"]", "JSON that is not an object"),
            ("{\"token\":\"canary\"}", "its keys: token"),
            ("{\"accessToken\":{\"x\":\"canary\"}}", "its keys: accessToken"),
            ("{\"accessToken\":\"\"}", "no header can carry"),
            ("{\"accessToken\":\"canary\\r\\nX: y\"}", "no header can carry"),
        ] {
            let error = answer(200, body).tokens().unwrap_err().to_string();
            assert!(error.contains(expected), "{body}: {error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn the_servers_own_words_lose_their_control_characters() {
        let text = answer(403, "{\"error\":\"no\\u001b[31m\\nway\"}").error_text(&["canary"]);
        assert_eq!(text.as_deref(), Some("no[31mway"));
        assert_eq!(answer(403, "[\"nope\"]").error_text(&["canary"]), None);
        let echo = answer(403, "{\"error\":\"bad token canary\"}").error_text(&["canary"]);
        assert_eq!(echo.as_deref(), Some("answered 403 Forbidden"));
        for nothing in ["null", "false", "\"\"", "\" \""] {
            assert_eq!(answer(403, &format!("{{\"error\":{nothing}}}")).error_text(&["canary"]), None, "{nothing}");
        }
        assert_eq!(answer(403, "<html>").error_text(&["canary"]), None);
        assert_eq!(answer(403, "{\"message\":\"no\"}").error_text(&["canary"]), None);
    }
}
