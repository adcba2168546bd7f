//! Revoking a session that is over here, at the server that it was for.

use std::sync::Arc;

use authcli::clock::SystemClock;
use authcli::http::ServerUrl;
use authcli::renewal::JsonApi;
use authcli::token::Secret;
use url::Url;

use super::context::Context;

/// Revokes a session of `server`. `Ok(false)`: it cannot be revoked there.
pub(crate) async fn revoke(
    context: &Context,
    server: &Url,
    endpoint: Option<&Url>,
    refresh_token: Option<&Secret>,
) -> anyhow::Result<bool> {
    let (Some(endpoint), Some(refresh_token)) = (endpoint, refresh_token) else {
        return Ok(false);
    };
    let api = JsonApi::new(context.client_for(&ServerUrl::from_stored(server)?)?, Arc::new(SystemClock));
    Ok(api.revoke(endpoint, refresh_token).await?)
}
