//! Why a login at an authorization server did not succeed, told by what the caller does next.
//!
//! The texts hold what a server wrote for people, cut and stripped, and never a code, token or secret.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::renewal::RenewalFault;
use crate::token::RandomnessMissing;

/// See the module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OauthError {
    /// The text cannot be an issuer. Write it as the provider does.
    #[error("`{issuer}` is no issuer: {why}")]
    NoIssuer {
        /// What was given.
        issuer: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The issuer could not be asked what it offers, or gave no usable answer.
    #[error("{issuer} tells nothing of its endpoints")]
    NoMetadata {
        /// Who was asked.
        issuer: String,
        /// What happened.
        #[source]
        fault: RenewalFault,
    },
    /// The server calls itself something else (RFC 8414 section 3.3). If that is who was meant, ask for it so.
    #[error("the server at {asked} calls itself `{found}`")]
    OtherIssuer {
        /// Who was asked.
        asked: String,
        /// Who answered.
        found: String,
    },
    /// An endpoint is not safe to send secrets to. Only the server's owner can mend that.
    #[error("{issuer} names a `{endpoint}` that cannot be used: {why}")]
    BadEndpoint {
        /// Who names it.
        issuer: String,
        /// Which.
        endpoint: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The server does not offer what this login needs. Another flow may do.
    #[error("{issuer} offers no {what}")]
    NotOffered {
        /// Who.
        issuer: String,
        /// What is missing.
        what: &'static str,
    },
    /// The server, or the person at it, said no.
    #[error("{origin} refused the login: {reason}")]
    Refused {
        /// Who.
        origin: String,
        /// Its words.
        reason: String,
    },
    /// What the browser came back with is no answer to this login. Nothing of it was used: begin again.
    #[error("the browser came back with no answer to this login: {0}")]
    ForeignRedirect(&'static str),
    /// The ID token is not for this login (OpenID Connect Core section 3.1.3.7). Nothing of the answer was kept.
    #[error("{origin} sent an ID token that is not for this login: {why}")]
    ForeignIdToken {
        /// Who.
        origin: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The tokens are of a kind that cannot be sent as a bearer token (RFC 6749 section 7.1).
    #[error("{origin} issues tokens of type `{token_type}`, which authcli cannot use")]
    OtherTokenType {
        /// Who.
        origin: String,
        /// Its word for it.
        token_type: String,
    },
    /// Nobody finished the login in time. Begin again.
    #[error("nobody finished the login within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The browser has nowhere to come back to.
    #[error("could not listen for the browser at {address}")]
    Listen {
        /// Where.
        address: String,
        /// Why not.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The server was away or answered nonsense.
    #[error("could not log in")]
    Fault(#[source] RenewalFault),
    /// No state, challenge or nonce could be drawn.
    #[error(transparent)]
    NoRandomness(#[from] RandomnessMissing),
}

impl From<RenewalFault> for OauthError {
    fn from(fault: RenewalFault) -> Self {
        Self::Fault(fault)
    }
}
