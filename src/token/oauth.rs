//! What is kept of an OAuth 2.0 client with the tokens it got, so that a renewal needs nothing else.

use serde::{Deserialize, Serialize};

use super::Secret;

/// Who asks a token endpoint, how it proves that, and with what it gets its next tokens.
#[derive(Clone, Debug)]
pub struct OauthClient {
    /// The client identifier (RFC 6749 section 2.2).
    pub id: String,
    /// What only this client and its server know; public clients have none.
    pub secret: Option<Secret>,
    /// How the client shows who it is.
    pub authentication: ClientAuthentication,
    /// How new tokens are had.
    pub renewed_by: RenewedBy,
}

/// How a client shows the token endpoint who it is (RFC 6749 section 2.3.1, RFC 8414 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthentication {
    /// By its identifier alone: a public client.
    None,
    /// By HTTP Basic: `client_secret_basic`.
    Basic,
    /// By fields of the form: `client_secret_post`.
    Post,
}

/// How new tokens are had for a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RenewedBy {
    /// By redeeming the refresh token (RFC 6749 section 6).
    RefreshToken,
    /// By asking again, as the client itself (RFC 6749 section 4.4).
    ClientCredentials {
        /// What was asked for.
        scopes: Vec<String>,
        /// Whom the tokens are for, where the server wants to know.
        audience: Option<String>,
    },
}
