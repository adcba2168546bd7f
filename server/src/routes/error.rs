//! What a client is told when it gets no answer of the good kind.
//!
//! Every refusal is one variant of [`ApiError`] with a fixed status and a fixed sentence; nothing that was caught inside
//! is ever sent. What went wrong inside goes to the log, the client gets a bare 500 or 503.

use std::error::Error;
use std::fmt::Write as _;
use std::future::{Ready, ready};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use tracing::error;

use crate::auth::InternalError;
use crate::keys::KeyError;
use crate::ports::StoreError;

/// A refusal, as the client sees it.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The body is no JSON object.
    #[error("Invalid JSON")]
    MalformedBody,
    /// The body is longer than any that makes sense.
    #[error("Request body is too large")]
    BodyTooLarge,
    /// The body takes longer to arrive than anybody should wait.
    #[error("Request body did not arrive in time")]
    BodyTooSlow,
    /// The login failed.
    #[error("Invalid username or password")]
    InvalidLogin,
    /// Too many logins failed before this one.
    #[error("Too many failed logins")]
    TooManyAttempts {
        /// When to come back.
        wait: Duration,
    },
    /// A refresh without a token.
    #[error("refresh token is required")]
    RefreshTokenRequired,
    /// A refresh with a token that is no good.
    #[error("Invalid refresh token")]
    InvalidRefreshToken,
    /// A protected call without credentials.
    #[error("Authorization header is required")]
    AuthorizationRequired,
    /// A protected call with credentials that are no good.
    #[error("Invalid token")]
    InvalidAccessToken,
    /// No such path.
    #[error("Not found")]
    NotFound,
    /// The path has other methods.
    #[error("Method not allowed")]
    MethodNotAllowed {
        /// Those.
        allow: &'static str,
    },
    /// The database is away, or there is too much to do: come back in a moment.
    #[error("Service unavailable")]
    Unavailable,
    /// A fault of the server.
    #[error("Internal server error")]
    Internal,
}

/// The body of every refusal.
#[derive(Serialize)]
struct ErrorBody {
    error: String,
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::MalformedBody | Self::RefreshTokenRequired => StatusCode::BAD_REQUEST,
            Self::InvalidLogin | Self::AuthorizationRequired => StatusCode::UNAUTHORIZED,
            Self::InvalidRefreshToken | Self::InvalidAccessToken => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooManyAttempts { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        match self {
            // RFC 6750 section 3.1: no error code where there were no credentials.
            Self::AuthorizationRequired => {
                response.insert_header((WWW_AUTHENTICATE, r#"Bearer realm="authcli""#));
            }
            Self::InvalidAccessToken => {
                let challenge = r#"Bearer realm="authcli", error="invalid_token""#;
                response.insert_header((WWW_AUTHENTICATE, challenge));
            }
            Self::MethodNotAllowed { allow } => {
                response.insert_header((ALLOW, *allow));
            }
            Self::Unavailable => {
                response.insert_header((RETRY_AFTER, "1"));
            }
            Self::TooManyAttempts { wait } => {
                // Whole seconds, and never too few of them.
                let seconds = wait.as_millis().div_ceil(1000).max(1);
                response.insert_header((RETRY_AFTER, seconds.to_string()));
            }
            _ => {}
        }
        response.json(ErrorBody { error: self.to_string() })
    }
}

impl From<InternalError> for ApiError {
    fn from(error: InternalError) -> Self {
        error!("{}", with_causes(&error));
        match error {
            InternalError::Store(StoreError::Unavailable(_) | StoreError::Unknown(_))
            // A key that only other servers can open.
            | InternalError::Keys(
                KeyError::Store(StoreError::Unavailable(_) | StoreError::Unknown(_)) | KeyError::Unusable(_),
            )
            | InternalError::PepperMissing(_)
            | InternalError::Contended => Self::Unavailable,
            InternalError::Store(StoreError::Unexpected(_))
            | InternalError::Password(_)
            | InternalError::Keys(_)
            | InternalError::GivenUp(_) => Self::Internal,
        }
    }
}

/// Answers a path that is not there.
pub(super) fn not_found() -> Ready<Result<HttpResponse, ApiError>> {
    ready(Err(ApiError::NotFound))
}

/// Answers a method that the path does not have.
pub(super) fn method_not_allowed(allow: &'static str) -> Ready<Result<HttpResponse, ApiError>> {
    ready(Err(ApiError::MethodNotAllowed { allow }))
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_inside_stays_inside() {
        let cause = || "canary".into();
        let away = ApiError::from(InternalError::Store(StoreError::Unavailable(cause())));
        assert_eq!(away.status_code(), 503);
        let broken = ApiError::from(InternalError::Store(StoreError::Unexpected(cause())));
        assert_eq!(broken.status_code(), 500);
        assert_eq!(broken.to_string(), "Internal server error");
    }

    #[test]
    fn the_log_gets_the_causes() {
        let error = InternalError::Store(StoreError::Unavailable("disk on fire".into()));
        assert_eq!(with_causes(&error), "the database is not available: disk on fire");
    }
}
