//! Logging in with a browser: where it goes, and what it comes back with (RFC 6749 section 4.1, RFC 7636, RFC 9700).
//!
//! What comes back counts only if it answers this very login: its `state` is ours, its `iss` is the server that was asked
//! (RFC 9207; it must be there where the server says that it always is), and no field stands there twice.

use oauth2::basic::BasicClient;
use oauth2::{AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope};
use url::Url;

use super::Login;
use super::error::OauthError;
use super::tokens::Refusal;
use crate::token::{Secret, random_text};

/// One login with a browser.
pub struct Authorization {
    /// Where the browser goes.
    url: Url,
    redirect_uri: RedirectUrl,
    state: CsrfToken,
    verifier: PkceCodeVerifier,
    nonce: Option<String>,
    issuer: String,
    names_issuer: bool,
    origin: String,
}

/// What an authorization code is redeemed with.
pub(super) struct Authorized {
    pub(super) code: Secret,
    pub(super) verifier: PkceCodeVerifier,
    pub(super) redirect_uri: RedirectUrl,
    pub(super) nonce: Option<String>,
}

impl Authorization {
    /// Begins a login whose browser comes back to `redirect_uri`.
    pub fn begin(login: &Login<'_>, redirect_uri: &RedirectUrl) -> Result<Self, OauthError> {
        let metadata = login.metadata;
        let not_offered = |what| OauthError::NotOffered { issuer: metadata.issuer.to_string(), what };
        let endpoint = metadata.authorization_endpoint.clone();
        let endpoint = endpoint.ok_or_else(|| not_offered("login with a browser (`authorization_endpoint`)"))?;
        if metadata.refuses_s256() {
            return Err(not_offered("`S256` challenge (RFC 7636), without which a code could be stolen"));
        }
        let client = BasicClient::new(ClientId::new(login.client.id.clone()))
            .set_auth_uri(AuthUrl::from_url(endpoint))
            .set_redirect_uri(redirect_uri.clone());
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let mut request = client
            .authorize_url(CsrfToken::new_random)
            .set_pkce_challenge(challenge)
            .add_scopes(login.scopes.iter().cloned().map(Scope::new));
        let asks_for = |scope: &str| login.scopes.iter().any(|asked| asked == scope);
        let nonce = if asks_for("openid") { Some(random_text::<16>()?) } else { None };
        if let Some(nonce) = &nonce {
            request = request.add_extra_param("nonce", nonce.clone());
        }
        if asks_for("offline_access") {
            // Without it the server may leave the refresh token out (OpenID Connect Core section 11).
            request = request.add_extra_param("prompt", "consent");
        }
        if let Some(audience) = login.audience {
            request = request.add_extra_param("audience", audience.to_owned());
        }
        let (url, state) = request.url();
        Ok(Self {
            url,
            redirect_uri: redirect_uri.clone(),
            state,
            verifier,
            nonce,
            issuer: metadata.issuer.as_str().to_owned(),
            names_issuer: metadata.names_issuer,
            origin: metadata.issuer.url().origin().ascii_serialization(),
        })
    }

    /// Returns the address for the browser.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the code in the address that the browser came back to.
    pub(super) fn authorized_by(self, redirected: &Url) -> Result<Authorized, OauthError> {
        let field = |name: &str| field(redirected, name);
        let foreign = |why| Err(OauthError::ForeignRedirect(why));
        match field("state")? {
            None => return foreign("it has no `state`"),
            Some(state) if state != *self.state.secret() => return foreign("its `state` is that of another login"),
            Some(_) => {}
        }
        match field("iss")? {
            Some(issuer) if issuer != self.issuer => return foreign("its `iss` is another server"),
            None if self.names_issuer => return foreign("it has no `iss`, though the server always sends one"),
            _ => {}
        }
        field("error")?;
        if let Some(refusal) = Refusal::in_fields(|name| field(name).ok().flatten().map(Into::into), &[]) {
            return Err(OauthError::Refused { origin: self.origin, reason: refusal.text });
        }
        match field("code")?.filter(|code| !code.is_empty()) {
            Some(code) => Ok(Authorized {
                code: Secret::new(code),
                verifier: self.verifier,
                redirect_uri: self.redirect_uri,
                nonce: self.nonce,
            }),
            None => foreign("it has no `code`"),
        }
    }
}

/// Returns the one field of the query that is called `name`.
fn field(redirected: &Url, name: &str) -> Result<Option<String>, OauthError> {
    let mut values = redirected.query_pairs().filter(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let value = values.next();
    if values.next().is_some() {
        return Err(OauthError::ForeignRedirect("a field stands there twice"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::renewal::oauth::tests::{client, metadata};

    fn begin(names_issuer: bool, scopes: &[&str], audience: Option<&str>) -> Authorization {
        let metadata = metadata(names_issuer);
        let scopes: Vec<String> = scopes.iter().copied().map(str::to_owned).collect();
        let login = Login { metadata: &metadata, client: &client(), scopes: &scopes, audience };
        Authorization::begin(&login, &RedirectUrl::new("http://127.0.0.1:8080/callback".into()).unwrap()).unwrap()
    }

    fn fields(authorization: &Authorization) -> BTreeMap<String, String> {
        authorization.url().query_pairs().into_owned().collect()
    }

    /// Returns what the code comes to when the browser comes back with `query`, where `STATE` stands for the state.
    fn code(authorization: Authorization, query: &str) -> Result<String, String> {
        let query = query.replace("STATE", authorization.state.secret());
        let redirected = Url::parse(&format!("http://127.0.0.1:8080/callback?{query}")).unwrap();
        authorization
            .authorized_by(&redirected)
            .map(|authorized| authorized.code.expose().to_owned())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_request_has_the_standards_fields() {
        let authorization = begin(false, &["openid", "offline_access"], Some("api"));
        assert!(authorization.url().as_str().starts_with("https://h/authorize?"));
        let mut fields = fields(&authorization);
        for drawn in ["state", "nonce", "code_challenge"] {
            assert!(fields.remove(drawn).unwrap().len() >= 22, "{drawn}");
        }
        let expected = [
            ("audience", "api"),
            ("client_id", "cli"),
            ("code_challenge_method", "S256"),
            ("prompt", "consent"),
            ("redirect_uri", "http://127.0.0.1:8080/callback"),
            ("response_type", "code"),
            ("scope", "openid offline_access"),
        ];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn nothing_is_asked_for_that_was_not_wanted() {
        let fields = fields(&begin(false, &["read"], None));
        assert!(!["nonce", "prompt", "audience"].iter().any(|name| fields.contains_key(*name)), "{fields:?}");
    }

    #[test]
    fn a_code_is_taken_from_an_answer_to_this_login_alone() {
        assert_eq!(code(begin(false, &[], None), "state=STATE&code=c").unwrap(), "c");
        assert_eq!(code(begin(true, &[], None), "state=STATE&code=c&iss=https%3A%2F%2Fh").unwrap(), "c");
        for (names_issuer, query, expected) in [
            (false, "code=c", "no `state`"),
            (false, "state=x&code=c", "another login"),
            (false, "state=STATE&state=STATE&code=c", "twice"),
            (false, "state=STATE&code=c&code=d", "twice"),
            (false, "state=STATE", "no `code`"),
            (false, "state=STATE&code=", "no `code`"),
            (false, "state=STATE&code=c&iss=https%3A%2F%2Fother", "another server"),
            (true, "state=STATE&code=c", "always sends one"),
            (true, "state=STATE&error=access_denied", "always sends one"),
        ] {
            let error = code(begin(names_issuer, &[], None), query).unwrap_err();
            assert!(error.contains(expected), "{query}: {error}");
        }
    }

    #[test]
    fn the_servers_own_words_are_shown_without_control_characters() {
        let query = "state=STATE&error=access_denied&error_description=no%1B%5B31m%0Away";
        let error = code(begin(false, &[], None), query).unwrap_err();
        assert_eq!(error, "https://h refused the login: access_denied: no[31mway");
        let error = code(begin(false, &[], None), "state=x&error=access_denied&error_description=canary").unwrap_err();
        assert!(!error.contains("canary"), "{error}");
    }
}
