//! Whatever kind of server a session is of.

use std::future::ready;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use url::Url;

use super::fault::RenewalFault;
use super::json_api::{ApiShape, JsonApi};
use super::oauth::Oauth;
use crate::error::Cause;
use crate::gate::{Clock, Renewal, RenewalError, WayOut};
use crate::http::{LazyClient, ServerUrl};
use crate::token::{IssuedTokens, OauthClient, Secret, TokenSet};

/// What renews and revokes sessions of one kind of server.
///
/// It calls the endpoints that a session's tokens name and no other: they were found at login.
#[derive(Clone)]
pub enum Provider {
    /// A JSON API.
    JsonApi(JsonApi),
    /// An OAuth 2.0 server.
    Oauth(Oauth),
}

impl Provider {
    /// The provider of the session that `tokens` belong to. `client` is one for the host of their endpoints. The profile
    /// says the rest: the `shape` of the JSON API at `api`, and whether an OAuth 2.0 server takes a refresh that comes
    /// twice for the same one.
    pub fn of(
        tokens: &TokenSet,
        shape: &ApiShape,
        api: &ServerUrl,
        safe_to_repeat: bool,
        client: LazyClient,
        clock: Arc<dyn Clock>,
    ) -> Self {
        match tokens.oauth {
            Some(_) => Self::Oauth(Oauth::new(client, clock, safe_to_repeat)),
            None => Self::JsonApi(JsonApi::new(shape.clone(), api, client, clock)),
        }
    }

    /// Revokes a session. `Ok(false)`: it cannot be revoked there.
    pub async fn revoke(&self, session: Revocation<'_>) -> Result<bool, RenewalFault> {
        match self {
            Self::JsonApi(api) => api.revoke(session).await,
            Self::Oauth(oauth) => oauth.revoke(session).await,
        }
    }
}

impl Renewal for Provider {
    fn renew<'a>(
        &'a self,
        tokens: &'a TokenSet,
        way_out: &'a WayOut,
    ) -> BoxFuture<'a, Result<IssuedTokens, RenewalError>> {
        match self {
            Self::JsonApi(api) => api.renew(tokens, way_out),
            Self::Oauth(oauth) => oauth.renew(tokens, way_out),
        }
    }

    fn revoke_refused<'a>(&'a self, tokens: &'a TokenSet) -> BoxFuture<'a, Result<(), Cause>> {
        match self {
            Self::JsonApi(api) => api.revoke_refused(tokens),
            // There is no word for "this session alone" (RFC 7009 section 2.1): some servers end all of a user's at the client.
            Self::Oauth(_) => Box::pin(ready(Ok(()))),
        }
    }
}

/// A session that is to be revoked; one that was never saved has no [`TokenSet`].
#[derive(Clone, Copy, Debug)]
pub struct Revocation<'a> {
    /// Where; `None` where its server has no such call.
    pub endpoint: Option<&'a Url>,
    /// Its access token.
    pub access_token: &'a Secret,
    /// Its refresh token.
    pub refresh_token: Option<&'a Secret>,
    /// Whose it is, where an OAuth 2.0 server issued it.
    pub oauth: Option<&'a OauthClient>,
}

impl<'a> From<&'a TokenSet> for Revocation<'a> {
    fn from(tokens: &'a TokenSet) -> Self {
        Self {
            endpoint: tokens.revocation_endpoint.as_ref(),
            access_token: &tokens.access_token,
            refresh_token: tokens.refresh_token.as_ref(),
            oauth: tokens.oauth.as_ref(),
        }
    }
}
