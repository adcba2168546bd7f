//! What went wrong with one call to a login, refresh or logout endpoint.
//!
//! The texts name addresses, statuses and key names, never a value of a request or an answer.

use url::Url;

use super::json_api::ShapeError;
use crate::http::NoClient;

/// What one try to reach a login, refresh or logout endpoint came to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenewalFault {
    /// No connection came about: nothing was sent.
    #[error("could not connect to {origin}")]
    Unreachable {
        /// Where to.
        origin: String,
        /// Why.
        #[source]
        cause: reqwest::Error,
    },
    /// The connection broke, or time ran out, after the request may have been sent.
    #[error("{origin} did not answer")]
    NoAnswer {
        /// Who did not.
        origin: String,
        /// Why.
        #[source]
        cause: reqwest::Error,
    },
    /// The server answered with a status that says "not now" or "not here".
    #[error("{url} answered {status}")]
    Status {
        /// Who answered.
        url: String,
        /// What.
        status: reqwest::StatusCode,
    },
    /// The server found fault with this client, not with what it redeemed.
    #[error("{url} answered {status}: {code}")]
    Refused {
        /// Who answered.
        url: String,
        /// With which status.
        status: reqwest::StatusCode,
        /// The error code (RFC 6749 section 5.2).
        code: String,
    },
    /// The call cannot be put together as the profile describes it. Nothing was sent.
    #[error("the profile describes no call that can be sent")]
    Shape(#[from] ShapeError),
    /// There is nothing to call with. Nothing was sent.
    #[error("no request can be sent")]
    Client(#[from] NoClient),
    /// The answer was not of the form that this kind of server uses.
    #[error("{url} answered {status} with {what}")]
    Nonsense {
        /// Who answered.
        url: String,
        /// With which status.
        status: reqwest::StatusCode,
        /// What was wrong with it; never its content.
        what: String,
    },
}

impl RenewalFault {
    /// The fault of a call to `url` that `cause` kept from its answer.
    pub(super) fn of_transport(url: &Url, cause: reqwest::Error) -> Self {
        let origin = url.origin().ascii_serialization();
        // The URL is named once; in the cause it would stand again.
        let cause = cause.without_url();
        if cause.is_connect() { Self::Unreachable { origin, cause } } else { Self::NoAnswer { origin, cause } }
    }

    /// Returns whether the server may have done what it was asked, without anybody here having the result: the answer was
    /// lost or unreadable.
    pub(super) fn leaves_doubt(&self) -> bool {
        match self {
            Self::NoAnswer { .. } => true,
            Self::Nonsense { status, .. } => status.is_success(),
            // A gateway that did not get the server's answer.
            Self::Status { status, .. } => {
                matches!(*status, reqwest::StatusCode::BAD_GATEWAY | reqwest::StatusCode::GATEWAY_TIMEOUT)
            }
            Self::Unreachable { .. } | Self::Refused { .. } | Self::Shape(_) | Self::Client(_) => false,
        }
    }
}
