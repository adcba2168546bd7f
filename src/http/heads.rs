//! Heads of requests and answers in the log, without secrets.
//!
//! A value is left out if its header's name suggests a secret, if it was marked sensitive, or if it holds one of the
//! session's own secrets (a server may echo them anywhere). Queries are left out too: many APIs take keys there.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response};
use tracing::{Level, debug, enabled};
use url::Url;

use crate::token::{Secret, TokenSet};

/// Parts of header names whose values are never shown.
const TELLING: [&str; 9] =
    ["auth", "cookie", "credential", "key", "password", "secret", "session", "signature", "token"];
const REDACTED: &str = "[redacted]";

/// Logs the head of a request that is about to be sent with `tokens`.
pub(crate) fn log_request(method: &Method, url: &Url, headers: &HeaderMap, tokens: &TokenSet) {
    if !enabled!(Level::DEBUG) {
        return;
    }
    let query = if url.query().is_some() { "?…" } else { "" };
    debug!(generation = tokens.generation.number(), "> {method} {}{query}", url.path());
    debug!("> authorization: Bearer {REDACTED}");
    log_headers('>', headers, tokens);
}

/// Logs the head of an answer to such a request.
pub(crate) fn log_response(response: &Response, tokens: &TokenSet) {
    if !enabled!(Level::DEBUG) {
        return;
    }
    debug!("< {:?} {}", response.version(), response.status());
    log_headers('<', response.headers(), tokens);
}

fn log_headers(direction: char, headers: &HeaderMap, tokens: &TokenSet) {
    for (name, value) in headers {
        debug!("{direction} {name}: {}", shown(name, value, tokens));
    }
}

fn shown(name: &HeaderName, value: &HeaderValue, tokens: &TokenSet) -> String {
    let Ok(text) = value.to_str() else {
        return REDACTED.into();
    };
    // `WWW-Authenticate` says why a token was refused: it is what -v is most often wanted for.
    let telling = name != reqwest::header::WWW_AUTHENTICATE && TELLING.iter().any(|part| name.as_str().contains(part));
    let own_secrets = [
        Some(tokens.access_token.expose()),
        tokens.refresh_token.as_ref().map(Secret::expose),
        Some(tokens.attempt_key.expose()),
    ];
    let echoed = own_secrets.into_iter().flatten().any(|secret| !secret.is_empty() && text.contains(secret));
    if telling || echoed || value.is_sensitive() { REDACTED.into() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sample_tokens;

    #[test]
    fn secrets_are_left_out_by_name_by_mark_and_by_content() {
        let tokens = sample_tokens();
        let echo = format!("you sent {}", tokens.access_token.expose());
        for (name, value, expected) in [
            ("content-type", "application/json", "application/json"),
            ("x-request-id", "7", "7"),
            ("www-authenticate", "Bearer error=\"invalid_token\"", "Bearer error=\"invalid_token\""),
            ("set-cookie", "a=b", REDACTED),
            ("x-api-key", "k", REDACTED),
            ("idempotency-key", "k", REDACTED),
            ("x-auth-token", "t", REDACTED),
            ("x-echo", echo.as_str(), REDACTED),
            ("www-authenticate", echo.as_str(), REDACTED),
        ] {
            let (name, value) = (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
            assert_eq!(shown(&name, &value, &tokens), expected, "{name}");
        }
        let mut marked = HeaderValue::from_static("plain");
        marked.set_sensitive(true);
        assert_eq!(shown(&HeaderName::from_static("x-any"), &marked, &tokens), REDACTED);
    }
}
