//! The requests of OAuth 2.0: the `oauth2` crate writes them.
//!
//! It does not send them. Its readers of answers take `expires_in` only as an unsigned number, a failure only with a body
//! of the standard's form, and forget status and `Retry-After`; so it is handed a client that keeps what it is given, and
//! what it wrote goes through the same hands as every other call here. The address is ours, too: the one that was found
//! at login.

use std::borrow::Cow;
use std::cell::RefCell;

use oauth2::basic::BasicClient;
use oauth2::{
    AuthType, AuthorizationCode, ClientId, ClientSecret, DeviceAuthorizationUrl, EndpointNotSet, EndpointSet,
    HttpRequest, HttpResponse, PkceCodeVerifier, RedirectUrl, RefreshToken, RevocationUrl, Scope,
    StandardDeviceAuthorizationResponse, StandardRevocableToken, SyncHttpClient, TokenUrl, http,
};
use reqwest::{Method, Request};
use url::Url;

use crate::token::{ClientAuthentication, OauthClient, Secret};

/// What the crate takes for every endpoint. It never gets there.
const ELSEWHERE: &str = "https://endpoint.invalid/";

/// Writes the requests of one client.
pub(super) struct Pen {
    client: BasicClient<EndpointNotSet, EndpointSet, EndpointNotSet, EndpointSet, EndpointSet>,
}

/// Which kind of token is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Access,
    Refresh,
}

impl Pen {
    pub(super) fn new(client: &OauthClient) -> Self {
        #[expect(clippy::expect_used, reason = "the text is a constant and a URL")]
        let elsewhere = Url::parse(ELSEWHERE).expect("a constant URL");
        let mut writer = BasicClient::new(ClientId::new(client.id.clone()))
            .set_auth_type(match client.authentication {
                ClientAuthentication::Basic => AuthType::BasicAuth,
                // Without a secret only the identifier goes into the form.
                ClientAuthentication::None | ClientAuthentication::Post => AuthType::RequestBody,
            })
            .set_token_uri(TokenUrl::from_url(elsewhere.clone()))
            .set_device_authorization_url(DeviceAuthorizationUrl::from_url(elsewhere.clone()))
            .set_revocation_url(RevocationUrl::from_url(elsewhere));
        if let Some(secret) = client.secret.as_ref().filter(|_| client.authentication != ClientAuthentication::None) {
            writer = writer.set_client_secret(ClientSecret::new(secret.expose().to_owned()));
        }
        Self { client: writer }
    }

    /// Redeems a refresh token (RFC 6749 section 6).
    pub(super) fn refresh(&self, endpoint: &Url, token: &Secret) -> Request {
        let token = RefreshToken::new(token.expose().to_owned());
        written(endpoint, |page| drop(self.client.exchange_refresh_token(&token).request(page)))
    }

    /// Redeems an authorization code (RFC 6749 section 4.1.3, RFC 7636 section 4.5).
    pub(super) fn code(
        &self,
        endpoint: &Url,
        code: &Secret,
        verifier: &PkceCodeVerifier,
        redirect_uri: &RedirectUrl,
    ) -> Request {
        let request = self.client.exchange_code(AuthorizationCode::new(code.expose().to_owned()));
        let request = request
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.secret().clone()))
            .set_redirect_uri(Cow::Borrowed(redirect_uri));
        written(endpoint, |page| drop(request.request(page)))
    }

    /// Asks for a token as the client itself (RFC 6749 section 4.4.2).
    pub(super) fn client_credentials(&self, endpoint: &Url, scopes: &[String], audience: Option<&str>) -> Request {
        let mut request = self.client.exchange_client_credentials().add_scopes(scopes_of(scopes));
        if let Some(audience) = audience {
            request = request.add_extra_param("audience", audience.to_owned());
        }
        written(endpoint, |page| drop(request.request(page)))
    }

    /// Asks for a user code (RFC 8628 section 3.1).
    pub(super) fn device_authorization(&self, endpoint: &Url, scopes: &[String], audience: Option<&str>) -> Request {
        let mut request = self.client.exchange_device_code().add_scopes(scopes_of(scopes));
        if let Some(audience) = audience {
            request = request.add_extra_param("audience", audience.to_owned());
        }
        written(endpoint, |page| {
            let _: Result<StandardDeviceAuthorizationResponse, _> = request.request(page);
        })
    }

    /// Asks whether the user code was approved (RFC 8628 section 3.4).
    pub(super) fn device_token(&self, endpoint: &Url, details: &StandardDeviceAuthorizationResponse) -> Request {
        let request = self.client.exchange_device_access_token(details);
        written(endpoint, |page| drop(request.request(page, |_| (), None)))
    }

    /// Revokes a token (RFC 7009 section 2.1).
    pub(super) fn revocation(&self, endpoint: &Url, token: &Secret, kind: Kind) -> Request {
        let text = token.expose().to_owned();
        let token = match kind {
            Kind::Access => StandardRevocableToken::AccessToken(oauth2::AccessToken::new(text)),
            Kind::Refresh => StandardRevocableToken::RefreshToken(RefreshToken::new(text)),
        };
        written(endpoint, |page| {
            // Fails only for an address that is not https.
            if let Ok(request) = self.client.revoke_token(token) {
                drop(request.request(page));
            }
        })
    }
}

fn scopes_of(scopes: &[String]) -> impl Iterator<Item = Scope> {
    scopes.iter().cloned().map(Scope::new)
}

/// Keeps the request that the crate would send. The "answer" is a refusal, at which the crate makes no further call.
#[derive(Default)]
struct Page(RefCell<Option<HttpRequest>>);

impl SyncHttpClient for Page {
    type Error = http::Error;

    fn call(&self, request: HttpRequest) -> Result<HttpResponse, Self::Error> {
        self.0.replace(Some(request));
        http::Response::builder().status(http::StatusCode::BAD_REQUEST).body(br#"{"error":"kept"}"#.to_vec())
    }
}

/// Returns the request that `write` makes the crate write, for `endpoint`.
fn written(endpoint: &Url, write: impl FnOnce(&Page)) -> Request {
    let page = Page::default();
    write(&page);
    let mut request = Request::new(Method::POST, endpoint.clone());
    if let Some(written) = page.0.into_inner() {
        let (head, body) = written.into_parts();
        *request.headers_mut() = head.headers;
        *request.body_mut() = Some(body.into());
    }
    request
}
