//! OAuth 2.0 and OpenID Connect: finding the endpoints, logging in, renewing, revoking.
//!
//! # What it guarantees
//!
//! - Codes, secrets and tokens go to the endpoints that the issuer named at login, over https (on loopback http will do),
//!   and follow no redirect.
//! - A code is redeemed only if the browser came back to this very login: `state`, PKCE with S256, `iss` (RFC 9207) and,
//!   in the ID token, `nonce`.
//! - Only `invalid_grant` ends a session. Everything else that a token endpoint answers leaves it standing.
//! - A redemption that may have reached the server is not sent again unless the profile says that the server takes it for
//!   the same one: strict servers take a repeated refresh token for a stolen one (RFC 9700 section 4.14.2).

mod authorization;
mod device;
mod discovery;
mod error;
mod flow;
mod identity;
mod issuer;
mod loopback;
mod pen;
mod tokens;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use reqwest::StatusCode;
use url::Url;

pub use self::authorization::Authorization;
use self::authorization::Authorized;
pub use self::device::DeviceCode;
pub use self::discovery::Metadata;
pub use self::error::OauthError;
pub use self::flow::{Flow, UnknownFlow};
use self::identity::Expected;
pub use self::issuer::Issuer;
pub use self::loopback::Loopback;
use self::pen::{Kind, Pen};
use self::tokens::Granted;
use super::caller::Caller;
use super::issued::without_repeated;
use super::tries::{self, Repeat, Verdict};
use super::{RenewalFault, Revocation};
use crate::gate::{Clock, Renewal, RenewalError, WayOut};
use crate::http::{LazyClient, secrets_of};
use crate::token::{IssuedTokens, OauthClient, RenewedBy, Secret, TokenSet};
pub use oauth2::RedirectUrl;

/// The calls to one authorization server.
#[derive(Clone)]
pub struct Oauth {
    caller: Caller,
    repeat: Repeat,
}

/// Who logs in where, and what for.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// The server.
    pub metadata: &'a Metadata,
    /// The client.
    pub client: &'a OauthClient,
    /// What the tokens are to allow.
    pub scopes: &'a [String],
    /// Whom they are for, where the server wants to know.
    pub audience: Option<&'a str>,
}

/// What a login brings.
#[derive(Debug)]
pub struct LoginGrant {
    /// The tokens.
    pub issued: IssuedTokens,
    /// What people call the account, where the server says.
    pub account: Option<String>,
}

impl Login<'_> {
    fn origin(&self) -> String {
        self.metadata.token_endpoint.origin().ascii_serialization()
    }

    /// Returns what a person's login brings, once its ID token, if one came, is known to be for it.
    fn grant(&self, granted: Granted, nonce: Option<&str>) -> Result<LoginGrant, OauthError> {
        let (issuer, client_id) = (self.metadata.issuer.as_str(), self.client.id.as_str());
        let expected = Expected { issuer, client_id, nonce, origin: &self.origin() };
        let account = granted.id_token.as_ref().map(|token| identity::account(token, &expected)).transpose()?;
        Ok(LoginGrant { issued: granted.issued, account: account.flatten() })
    }
}

impl Oauth {
    /// The calls that `client` makes. `safe_to_repeat`: the server takes a refresh that
    /// comes twice for the same one.
    pub fn new(client: LazyClient, clock: Arc<dyn Clock>, safe_to_repeat: bool) -> Self {
        let repeat = if safe_to_repeat { Repeat::Safe } else { Repeat::Unsafe };
        Self { caller: Caller { client, clock }, repeat }
    }

    /// Redeems the code in the address that the browser came back to.
    pub async fn finish_browser(
        &self,
        login: &Login<'_>,
        authorization: Authorization,
        redirected: &Url,
    ) -> Result<LoginGrant, OauthError> {
        let Authorized { code, verifier, redirect_uri, nonce } = authorization.authorized_by(redirected)?;
        let request = Pen::new(login.client).code(&login.metadata.token_endpoint, &code, &verifier, &redirect_uri);
        let mut secrets = secret_of(login.client);
        secrets.extend([code.expose(), verifier.secret().as_str()]);
        let answer = self.caller.call(request, &secrets).await?;
        let granted = tokens::granted(&answer, &login.origin(), &secrets)?;
        login.grant(granted, nonce.as_deref())
    }

    /// Logs in as the client itself.
    pub async fn client_credentials(&self, login: &Login<'_>) -> Result<LoginGrant, OauthError> {
        let endpoint = &login.metadata.token_endpoint;
        let request = Pen::new(login.client).client_credentials(endpoint, login.scopes, login.audience);
        let secrets = secret_of(login.client);
        let answer = self.caller.call(request, &secrets).await?;
        let granted = tokens::granted(&answer, &login.origin(), &secrets)?;
        Ok(LoginGrant { issued: granted.issued, account: Some(login.client.id.clone()) })
    }

    /// Takes up a session by a refresh token from elsewhere: redeems it once, which proves it.
    pub async fn take_up(&self, login: &Login<'_>, refresh_token: &Secret) -> Result<LoginGrant, OauthError> {
        let request = Pen::new(login.client).refresh(&login.metadata.token_endpoint, refresh_token);
        let mut secrets = secret_of(login.client);
        secrets.push(refresh_token.expose());
        let answer = self.caller.call(request, &secrets).await?;
        let granted = tokens::granted(&answer, &login.origin(), &secrets)?;
        let mut grant = login.grant(granted, None)?;
        grant.issued.refresh_token.get_or_insert_with(|| refresh_token.clone());
        Ok(grant)
    }

    /// Revokes a session: its refresh token, with which a server ends the whole grant, else its access token (RFC 7009
    /// section 2.1). `Ok(false)`: the server has no such call.
    pub async fn revoke(&self, session: Revocation<'_>) -> Result<bool, RenewalFault> {
        let (Some(endpoint), Some(client)) = (session.endpoint, session.oauth) else {
            return Ok(false);
        };
        let access_token = (session.access_token, Kind::Access);
        let (token, kind) = session.refresh_token.map_or(access_token, |token| (token, Kind::Refresh));
        let mut secrets = secret_of(client);
        secrets.push(token.expose());
        let answer = self.caller.call(Pen::new(client).revocation(endpoint, token, kind), &secrets).await?;
        match answer.status {
            // A token that the server does not know counts as revoked (section 2.2).
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => Ok(false),
            _ => match tokens::Refusal::of(&answer, &secrets) {
                // Access tokens cannot be revoked everywhere (section 2.2.1).
                Some(refusal) if refusal.code == "unsupported_token_type" => Ok(false),
                Some(refusal) => Err(answer.refusal(refusal.text)),
                None => Err(answer.unexpected()),
            },
        }
    }

    async fn redeem(&self, tokens: &TokenSet, way_out: &WayOut) -> Result<IssuedTokens, RenewalError> {
        let Some(client) = &tokens.oauth else {
            return Err(RenewalError::NothingToRedeem);
        };
        let (grant, repeat) = match &client.renewed_by {
            RenewedBy::RefreshToken => {
                (Grant::RefreshToken(tries::redeemable(tokens, self.caller.now())?), self.repeat)
            }
            // A new token for the client itself replaces nothing.
            RenewedBy::ClientCredentials { scopes, audience } => {
                (Grant::Client { scopes, audience: audience.as_deref() }, Repeat::Safe)
            }
        };
        let issued = tries::redeem(way_out, repeat, || self.attempt(tokens, client, grant)).await?;
        Ok(match grant {
            Grant::RefreshToken(redeemed) => without_repeated(issued, redeemed),
            Grant::Client { .. } => issued,
        })
    }

    async fn attempt(&self, tokens: &TokenSet, client: &OauthClient, grant: Grant<'_>) -> Verdict {
        let (pen, endpoint) = (Pen::new(client), &tokens.refresh_endpoint);
        let mut request = match grant {
            Grant::RefreshToken(token) => pen.refresh(endpoint, token),
            Grant::Client { scopes, audience } => pen.client_credentials(endpoint, scopes, audience),
        };
        // Servers that know it answer a repeated redemption with the same tokens; all others ignore it.
        if let Ok(key) = tokens.attempt_key.expose().parse() {
            request.headers_mut().insert("idempotency-key", key);
        }
        let mut secrets = secrets_of(tokens).to_vec();
        secrets.extend(secret_of(client));
        match self.caller.call(request, &secrets).await {
            Ok(answer) => tokens::judge(&answer, &secrets, matches!(grant, Grant::RefreshToken(_))),
            Err(fault) => Verdict::of_fault(fault),
        }
    }
}

/// What new tokens are had for.
#[derive(Clone, Copy)]
enum Grant<'a> {
    RefreshToken(&'a Secret),
    Client { scopes: &'a [String], audience: Option<&'a str> },
}

impl Renewal for Oauth {
    fn renew<'a>(
        &'a self,
        tokens: &'a TokenSet,
        way_out: &'a WayOut,
    ) -> BoxFuture<'a, Result<IssuedTokens, RenewalError>> {
        Box::pin(self.redeem(tokens, way_out))
    }
}

/// Returns what a log or an error must not show of a client.
fn secret_of(client: &OauthClient) -> Vec<&str> {
    Vec::from_iter(client.secret.as_ref().map(Secret::expose))
}

#[cfg(test)]
mod tests;
