//! Heads of requests and answers in the log, without secrets.
//!
//! A value is left out if its header's name suggests a secret, if it was marked sensitive, or if it holds one of the
//! session's own secrets (a server may echo them anywhere). Queries are left out too: many APIs take keys there.

use reqwest::header::{
    CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, REFERER,
    WWW_AUTHENTICATE,
};
use reqwest::{Method, Response};
use tracing::{Level, debug, enabled};
use url::Url;

use crate::token::{Secret, TokenSet};

/// Parts of header names whose values are never shown.
const TELLING: [&str; 9] =
    ["auth", "cookie", "credential", "key", "password", "secret", "session", "signature", "token"];
const REDACTED: &str = "[redacted]";

/// Logs the head of a request that is about to be sent. `secrets` are all that it, or an answer to it, may hold.
pub(crate) fn log_request(method: &Method, url: &Url, headers: &HeaderMap, secrets: &[&str]) {
    if !enabled!(Level::DEBUG) {
        return;
    }
    let query = if url.query().is_some() { "?…" } else { "" };
    debug!("> {method} {}{query}", url.path());
    log_headers('>', headers, secrets);
}

/// Logs the head of an answer to such a request.
pub(crate) fn log_response(response: &Response, secrets: &[&str]) {
    if !enabled!(Level::DEBUG) {
        return;
    }
    debug!("< {:?} {}", response.version(), response.status());
    log_headers('<', response.headers(), secrets);
}

/// Logs the head of an answer that may give out secrets nobody here knows yet, in whatever header: only those are shown
/// that cannot hold one.
pub(crate) fn log_token_response(response: &Response) {
    if !enabled!(Level::DEBUG) {
        return;
    }
    debug!("< {:?} {}", response.version(), response.status());
    for name in [CONTENT_TYPE, CONTENT_LENGTH, DATE] {
        for value in response.headers().get_all(&name) {
            debug!("< {name}: {}", shown(&name, value, &[]));
        }
    }
}

/// Returns the texts of `tokens` that no log may show; one that there is not is empty, which is never looked for.
pub(crate) fn secrets_of(tokens: &TokenSet) -> [&str; 3] {
    let refresh_token = tokens.refresh_token.as_ref().map_or("", Secret::expose);
    [tokens.access_token.expose(), tokens.attempt_key.expose(), refresh_token]
}

fn log_headers(direction: char, headers: &HeaderMap, secrets: &[&str]) {
    for (name, value) in headers {
        debug!("{direction} {name}: {}", shown(name, value, secrets));
    }
}

fn shown(name: &HeaderName, value: &HeaderValue, secrets: &[&str]) -> String {
    let Ok(text) = value.to_str() else {
        return REDACTED.into();
    };
    // `WWW-Authenticate` says why a token was refused: it is what -v is most often wanted for.
    let telling = name != WWW_AUTHENTICATE && TELLING.iter().any(|part| name.as_str().contains(part));
    let echoed = secrets.iter().any(|secret| !secret.is_empty() && text.contains(secret));
    if !(telling || echoed || value.is_sensitive()) {
        return match text.split_once('?') {
            Some((path, _)) if [LOCATION, CONTENT_LOCATION, REFERER].contains(name) => format!("{path}?…"),
            _ => text.to_owned(),
        };
    }
    if text.starts_with("Bearer ") { format!("Bearer {REDACTED}") } else { REDACTED.into() }
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
            ("location", "/callback?code=c", "/callback?…"),
            ("set-cookie", "a=b", REDACTED),
            ("x-api-key", "k", REDACTED),
            ("idempotency-key", "k", REDACTED),
            ("x-auth-token", "t", REDACTED),
            ("x-echo", echo.as_str(), REDACTED),
            ("www-authenticate", echo.as_str(), REDACTED),
            ("authorization", "Bearer t", "Bearer [redacted]"),
        ] {
            let (name, value) = (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
            assert_eq!(shown(&name, &value, &secrets_of(&tokens)), expected, "{name}");
        }
        let mut marked = HeaderValue::from_static("plain");
        marked.set_sensitive(true);
        assert_eq!(shown(&HeaderName::from_static("x-any"), &marked, &[]), REDACTED);
    }
}
