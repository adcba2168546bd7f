//! What a profile says of an authorization server.

use serde::Deserialize;

use crate::renewal::oauth::Flow;
use crate::token::ClientAuthentication;

/// `[profiles.NAME.oauth]`: how to log in at an OAuth 2.0 or OpenID Connect server. A login notes it; what is needed to
/// renew a session is kept with its tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OauthProfile {
    /// The server, exactly as it calls itself.
    pub issuer: Option<String>,
    /// The client's identifier there.
    pub client_id: Option<String>,
    /// How to log in.
    pub flow: Option<Flow>,
    /// What to ask for.
    pub scopes: Option<Vec<String>>,
    /// Whom the tokens are for.
    pub audience: Option<String>,
    /// Where the browser comes back to.
    pub redirect_uri: Option<String>,
    /// How the client shows its secret, where the server's own word for it is wrong.
    pub client_authentication: Option<ClientAuthentication>,
    /// Whether the server takes a refresh that comes twice for the same one.
    pub safe_to_repeat: bool,
}
