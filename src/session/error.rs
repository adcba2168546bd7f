//! Why there is no answer, or why a refusal is the last word.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::error::TokenError;
use crate::http::{NoClient, TransportError};

/// What is known of a final 401 or 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinalRefusal {
    /// The token had been refreshed just now: its age is not the reason.
    FreshToken,
    /// The server gave no refresh token, so there is no newer one to try.
    NotRenewable,
    /// The refresh token is not good yet, so there is no newer one to try.
    NotYetRenewable,
    /// The server says that the token lacks a scope (RFC 6750 section 3.1).
    InsufficientScope,
    /// There is a newer token now, but the body was a stream and has been sent. Send the request again, with its body.
    BodySpent,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// No live token could be had.
    #[error(transparent)]
    Token(#[from] Arc<TokenError>),
    /// The address is not on the session's origin. Nothing was sent.
    #[error("{0} is not on the origin that the tokens are for")]
    WrongOrigin(String),
    /// There is nothing to send with. Nothing was sent.
    #[error("no request can be sent")]
    Client(#[source] NoClient),
    /// The URL is longer than [`LONGEST_URL`](super::LONGEST_URL). Nothing was sent.
    #[error("the URL is longer than the {} bytes that a request can hold", super::LONGEST_URL)]
    UrlTooLong,
    /// The body could not be read, or not to its end. What was sent of it the server has seen.
    #[error("could not read the body of the request")]
    Body(#[source] io::Error),
    /// The body was a stream, and another request has sent it. Nothing was sent.
    #[error("the body of the request was a stream and has been sent")]
    BodySpent,
    /// No connection, or it broke.
    #[error("could not get an answer from {origin}")]
    Network {
        /// From whom.
        origin: String,
        /// Why not.
        #[source]
        cause: TransportError,
    },
    /// The connection broke within the answer's body.
    #[error("the answer of {origin} broke off")]
    BrokeOff {
        /// From whom.
        origin: String,
        /// Why.
        #[source]
        cause: reqwest::Error,
    },
    /// The answer's content could not be decoded: it is cut short, or not what its head says.
    #[error("could not decode the answer of {origin}")]
    Coding {
        /// From whom.
        origin: String,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// Time ran out.
    #[error("no answer from {origin} within {} s", bound.as_secs_f64())]
    TimedOut {
        /// From whom.
        origin: String,
        /// The time.
        bound: Duration,
    },
    /// Nothing came, and nothing went, for too long.
    #[error("not a byte from {origin} for {} s", bound.as_secs())]
    Silent {
        /// From whom.
        origin: String,
        /// How long.
        bound: Duration,
    },
}

/// The message names the origin; the rest of the URL may hold what a log should not.
pub(super) fn broke_off(url: &Url, cause: reqwest::Error) -> SendError {
    SendError::BrokeOff { origin: url.origin().ascii_serialization(), cause: cause.without_url() }
}
