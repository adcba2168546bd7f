//! What a client is told when there is no answer of the server to pass on: a status, one sentence and what to do, as JSON,
//! and the reason for programs in `Proxy-Status` (RFC 9209). Neither holds a token or the key.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::access::Denied;
use crate::error::TokenError;
use crate::http::{AddressError, messages};
use crate::session::SendError;

/// An answer of the proxy's own.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    /// A type of RFC 9209 section 2.3.
    kind: &'static str,
    message: String,
    hint: Option<&'static str>,
    retry_after: Option<Duration>,
    /// Whether the connection is of no more use.
    closes: bool,
}

#[derive(Serialize)]
struct Told<'refusal> {
    error: &'refusal str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'refusal str>,
}

impl Refusal {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), hint: None, retry_after: None, closes: false }
    }

    fn with_hint(self, hint: &'static str) -> Self {
        Self { hint: Some(hint), ..self }
    }

    /// The token was refused after a body had passed that is kept nowhere. There is a newer token now.
    pub(super) fn body_spent() -> Self {
        let refusal = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "http_request_error",
            "the token was replaced since the request began, and its body was too long to be kept",
        );
        Self { retry_after: Some(Duration::ZERO), ..refusal.with_hint("send the request again") }
    }

    /// The server granted WebSocket, and then the connection could not be had.
    pub(super) fn upgrade_failed() -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "http_upgrade_failed", "the server did not go on with WebSocket")
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let body = serde_json::to_vec(&Told { error: &self.message, hint: self.hint }).unwrap_or_default();
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(status) = HeaderValue::try_from(format!("authcli; error={}", self.kind)) {
            headers.insert("proxy-status", status);
        }
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        if self.closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        const ADDRESS: &str = "use the address that `authcli proxy` printed when it started, with its whole path";
        let (status, hint) = match denied {
            Denied::Tunnel => (StatusCode::METHOD_NOT_ALLOWED, Some(ADDRESS)),
            Denied::Trace => (StatusCode::METHOD_NOT_ALLOWED, None),
            Denied::OtherHost => (StatusCode::MISDIRECTED_REQUEST, Some(ADDRESS)),
            Denied::ForeignPage => (StatusCode::FORBIDDEN, None),
            Denied::NoKey => (StatusCode::FORBIDDEN, Some(ADDRESS)),
            Denied::KeyRepeated | Denied::NotAPath => (StatusCode::BAD_REQUEST, None),
        };
        // The rest of the request is of no interest.
        Self { hint, closes: true, ..Self::new(status, "http_request_denied", denied.to_string()) }
    }
}

impl From<AddressError> for Refusal {
    fn from(error: AddressError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "http_request_error", error.to_string())
    }
}

impl From<&SendError> for Refusal {
    fn from(error: &SendError) -> Self {
        let message = messages(error).join(": ");
        let (gateway, timeout) = (StatusCode::BAD_GATEWAY, StatusCode::GATEWAY_TIMEOUT);
        match error {
            SendError::Token(error) => about_token(error, message),
            SendError::Network { cause, .. } if cause.is_timeout() => Self::new(timeout, "connection_timeout", message),
            SendError::Network { cause, .. } if cause.is_connect() => {
                Self::new(gateway, "destination_unavailable", message)
            }
            SendError::TimedOut { .. } | SendError::Silent { .. } => {
                Self::new(timeout, "http_response_timeout", message)
            }
            SendError::BodySpent => Self::body_spent(),
            SendError::Body(_) | SendError::UrlTooLong => {
                Self::new(StatusCode::BAD_REQUEST, "http_request_error", message)
            }
            _ => Self::new(gateway, "http_response_incomplete", message),
        }
    }
}

fn about_token(error: &TokenError, message: String) -> Refusal {
    let unavailable = |kind| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, kind, message);
    match error {
        TokenError::NotLoggedIn
        | TokenError::SessionEnded { .. }
        | TokenError::NotRenewable { .. }
        | TokenError::AccountChanged => {
            unavailable("proxy_configuration_error").with_hint("run `authcli login`, then start the proxy again")
        }
        TokenError::Unavailable { retry_after, .. } => {
            Refusal { retry_after: *retry_after, ..unavailable("destination_unavailable") }
        }
        TokenError::Closing => Refusal { closes: true, ..unavailable("proxy_internal_error") },
        _ => unavailable("proxy_internal_error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body may outgrow what is kept between the moment when it is found repeatable and the second sending.
    #[test]
    fn a_body_that_is_spent_is_asked_for_again() {
        let refusal = Refusal::from(&SendError::BodySpent);
        assert_eq!((refusal.status, refusal.retry_after), (StatusCode::SERVICE_UNAVAILABLE, Some(Duration::ZERO)));
        assert_eq!(refusal.hint, Some("send the request again"));
    }
}
