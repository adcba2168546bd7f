//! Reading the answers of login, refresh and logout endpoints.
//!
//! Nothing of an answer's content is ever repeated in an error, except the names of its keys, and the text under `error`,
//! cut and stripped: that is what servers write for people.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode};
use secrecy::zeroize::Zeroizing;
use serde_json::Value;

use super::RenewalFault;
use crate::http::retry_after;
use crate::text::printable_start;

/// Answers with tokens are short; what is longer is none of them.
const LONGEST_ANSWER: usize = 256 * 1024;
const LONGEST_REASON: usize = 200;

/// A whole answer.
pub(super) struct Answer {
    /// Where it came from, without the query, which may hold a key.
    pub(super) url: String,
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) headers: HeaderMap,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// Reads `response` to its end.
    pub(super) async fn read(mut response: Response, now: Timestamp) -> Result<Self, RenewalFault> {
        let mut url = response.url().clone();
        // It may hold a key, and this goes into messages.
        url.set_query(None);
        let url = url.to_string();
        let origin = response.url().origin().ascii_serialization();
        let status = response.status();
        let retry_after = retry_after(&response, now);
        let headers = std::mem::take(response.headers_mut());
        let mut body = Zeroizing::new(Vec::new());
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= LONGEST_ANSWER => body.extend_from_slice(&chunk),
                Ok(Some(_)) => {
                    let what = format!("more than {} KiB", LONGEST_ANSWER / 1024);
                    return Err(RenewalFault::Nonsense { url, status, what });
                }
                Ok(None) => return Ok(Self { url, status, retry_after, headers, body }),
                Err(cause) => return Err(RenewalFault::NoAnswer { origin, cause: cause.without_url() }),
            }
        }
    }

    /// Returns the body as JSON, where it is that.
    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Returns the fault for an answer that no rule covers.
    pub(super) fn unexpected(&self) -> RenewalFault {
        self.unexpected_with(|| "no JSON object with an `error` in it".into())
    }

    /// The same for an answer with `what`, unless its status tells enough.
    pub(super) fn unexpected_with(&self, what: impl FnOnce() -> String) -> RenewalFault {
        if self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS {
            return self.not_here();
        }
        self.nonsense(what())
    }

    /// Returns the fault for an answer that tells by its status alone that it is not the endpoint's own.
    pub(super) fn not_here(&self) -> RenewalFault {
        RenewalFault::Status { url: self.url.clone(), status: self.status }
    }

    /// Returns the fault for an answer with `code` under `error`.
    pub(super) fn refusal(&self, code: String) -> RenewalFault {
        RenewalFault::Refused { url: self.url.clone(), status: self.status, code }
    }

    pub(super) fn nonsense(&self, what: impl Into<String>) -> RenewalFault {
        RenewalFault::Nonsense { url: self.url.clone(), status: self.status, what: what.into() }
    }
}

/// Returns what an error says whose text or code is `value`, or `None` if it says nothing. Words that repeat one of
/// `secrets`, and what is no words, become `otherwise`.
pub(super) fn words(value: &Value, secrets: &[&str], otherwise: &str) -> Option<String> {
    match value {
        // What says nothing is no refusal: gateways put such fields beside any answer, and 0 is the code of a success.
        Value::Null | Value::Bool(false) => None,
        Value::Number(number) if number.as_f64() == Some(0.0) => None,
        Value::Array(items) if items.is_empty() => None,
        Value::Object(fields) if fields.is_empty() => None,
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) if !secrets.iter().any(|secret| !secret.is_empty() && text.contains(secret)) => {
            Some(brief(text))
        }
        _ => Some(otherwise.to_owned()),
    }
}

/// Returns `text` fit for one line of a terminal: no control characters, not too long.
pub(super) fn brief(text: &str) -> String {
    printable_start(text, LONGEST_REASON)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(in super::super) fn answer(status: u16, body: &str) -> Answer {
        Answer {
            url: "http://h/refresh".into(),
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            headers: HeaderMap::new(),
            body: Zeroizing::new(body.as_bytes().to_vec()),
        }
    }

    #[test]
    fn the_servers_own_words_lose_their_control_characters() {
        let said = |value: Value| words(&value, &["", "canary"], "answered 403 Forbidden");
        assert_eq!(said(json!("no\u{1b}[31m\nway")).as_deref(), Some("no[31mway"));
        assert_eq!(said(json!("bad token canary")).as_deref(), Some("answered 403 Forbidden"));
        for nothing in [json!(null), json!(false), json!(""), json!(" "), json!(0), json!({}), json!([])] {
            assert_eq!(said(nothing.clone()), None, "{nothing}");
        }
        for something in [json!(17), json!(true), json!({"code": 17}), json!(["no"])] {
            assert_eq!(said(something.clone()).as_deref(), Some("answered 403 Forbidden"), "{something}");
        }
        assert_eq!(said(json!("x".repeat(1000))).unwrap().len(), LONGEST_REASON);
    }
}
