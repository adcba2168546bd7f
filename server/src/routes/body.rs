//! Reads JSON bodies as the first server did, whatever their `Content-Type`.
//!
//! An empty body and an array count as an object without fields; any other value that is no object is malformed. Unknown
//! fields are ignored, a field that comes twice counts with its last value.

use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::web::Payload;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::ApiError;

const LONGEST: usize = 64 * 1024;
/// How long a client may take to send it.
const PATIENCE: Duration = Duration::from_secs(20);

/// The fields of a JSON body.
pub(super) struct JsonBody(Map<String, Value>);

impl JsonBody {
    /// Reads the whole body.
    pub(super) async fn read(payload: Payload) -> Result<Self, ApiError> {
        let bytes = match timeout(PATIENCE, payload.to_bytes_limited(LONGEST)).await {
            Ok(Ok(Ok(bytes))) => bytes,
            Ok(Ok(Err(error))) => return Err(unreadable(&error)),
            Ok(Err(_)) => return Err(ApiError::BodyTooLarge),
            Err(_) => return Err(ApiError::BodyTooSlow),
        };
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        if bytes.trim_ascii().is_empty() {
            return Ok(Self(Map::new()));
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(Value::Array(_)) => Ok(Self(Map::new())),
            Ok(_) | Err(_) => Err(ApiError::MalformedBody),
        }
    }

    /// Returns a field, and forgets it.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// Returns a field that is a string.
    pub(super) fn take_string(&mut self, name: &str) -> Option<String> {
        match self.take(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }
}

fn unreadable(error: &actix_web::Error) -> ApiError {
    match error.as_error::<PayloadError>() {
        Some(PayloadError::Overflow) => ApiError::BodyTooLarge,
        _ => ApiError::MalformedBody,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::{FromRequest as _, dev, test::TestRequest};
    use futures_util::stream;
    use proptest::prelude::*;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_comes_is_not_waited_for() {
        let request = TestRequest::default().to_http_request();
        let mut never: dev::Payload = dev::Payload::Stream { payload: Box::pin(stream::pending()) };
        let payload = Payload::from_request(&request, &mut never).await.unwrap();
        let answer = JsonBody::read(payload).await.map(|_| ());
        assert!(matches!(answer, Err(ApiError::BodyTooSlow)), "{answer:?}");
    }

    #[test]
    fn what_is_no_object_counts_as_it_did() {
        let fields = |text: &str| JsonBody::parse(text.as_bytes()).map(|body| body.0.len()).ok();
        assert_eq!(fields(""), Some(0));
        assert_eq!(fields(" \n"), Some(0));
        assert_eq!(fields("[1]"), Some(0));
        assert_eq!(fields(r#"{"a":1,"a":2}"#), Some(1));
        for malformed in ["null", "1", "\"a\"", "true", "{", "{\"a\":}", "\u{feff}{}", "{}x"] {
            assert_eq!(fields(malformed), None, "{malformed}");
        }
        assert_eq!(fields(&"[".repeat(10_000)), None);
    }

    proptest! {
        #[test]
        fn no_body_makes_it_fail(bytes: Vec<u8>) {
            let _ = JsonBody::parse(&bytes);
        }
    }
}
