//! Finding out what an authorization server offers, and where (RFC 8414, OpenID Connect Discovery 1.0).
//!
//! - The issuer is compared byte for byte with what the server says it is (RFC 8414 section 3.3): the one thing that ties
//!   the endpoints to the server that was asked for.
//! - The issuer and every endpoint are https. On loopback http will do, and an issuer elsewhere cannot name endpoints on
//!   this machine in clear text.

use reqwest::{Method, Request, StatusCode};
use serde::Deserialize;
use url::Url;

use super::Oauth;
use super::error::OauthError;
use super::issuer::{Issuer, is_safe};
use super::tokens::object;
use crate::http::is_loopback;
use crate::renewal::RenewalFault;
use crate::renewal::answer::brief;
use crate::token::{ClientAuthentication, Secret};

/// What an authorization server says of itself, as far as a login needs it.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// Who says it.
    pub issuer: Issuer,
    /// Where people log in with a browser.
    pub authorization_endpoint: Option<Url>,
    /// Where tokens are had.
    pub token_endpoint: Url,
    /// Where devices without a browser begin (RFC 8628).
    pub device_authorization_endpoint: Option<Url>,
    /// Where tokens are revoked (RFC 7009).
    pub revocation_endpoint: Option<Url>,
    /// Whether the answer to an authorization request always names its issuer (RFC 9207).
    pub(super) names_issuer: bool,
    scopes: Vec<String>,
    authentications: Option<Vec<String>>,
    challenge_methods: Option<Vec<String>>,
}

/// The fields of the document; what it says beside them is not needed.
#[derive(Deserialize)]
pub(super) struct Document {
    issuer: String,
    #[serde(default)]
    authorization_endpoint: Option<String>,
    #[serde(default)]
    token_endpoint: Option<String>,
    #[serde(default)]
    device_authorization_endpoint: Option<String>,
    #[serde(default)]
    revocation_endpoint: Option<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: Option<bool>,
    #[serde(default)]
    scopes_supported: Option<Vec<String>>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    code_challenge_methods_supported: Option<Vec<String>>,
}

impl Oauth {
    /// Asks `issuer` what it offers.
    pub async fn discover(&self, issuer: &Issuer) -> Result<Metadata, OauthError> {
        let mut first = None;
        for url in issuer.metadata_addresses() {
            let found = match self.document(&url).await {
                Ok(document) => Metadata::of(issuer, document),
                // Nobody is there, so nobody is at the other place either.
                Err(fault @ (RenewalFault::Unreachable { .. } | RenewalFault::NoAnswer { .. })) => {
                    return Err(OauthError::NoMetadata { issuer: issuer.to_string(), fault });
                }
                Err(fault) => Err(OauthError::NoMetadata { issuer: issuer.to_string(), fault }),
            };
            match found {
                Ok(metadata) => return Ok(metadata),
                Err(error) => _ = first.get_or_insert(error),
            }
        }
        // The first place is the one that most servers know, so what is wrong there is most likely what is wrong.
        Err(first.unwrap_or(OauthError::NotOffered { issuer: issuer.to_string(), what: "metadata" }))
    }

    async fn document(&self, url: &Url) -> Result<Document, RenewalFault> {
        let answer = self.caller.call(Request::new(Method::GET, url.clone()), &[]).await?;
        if answer.status != StatusCode::OK {
            return Err(answer.not_here());
        }
        serde_json::from_value(object(&answer)?.into()).map_err(|_| answer.nonsense("metadata of another form"))
    }
}

impl Metadata {
    pub(super) fn of(issuer: &Issuer, document: Document) -> Result<Self, OauthError> {
        if document.issuer != issuer.as_str() {
            return Err(OauthError::OtherIssuer { asked: issuer.to_string(), found: brief(&document.issuer) });
        }
        let endpoint = |name: &'static str, text: Option<String>| {
            text.map(|text| endpoint(issuer, &text).map_err(|why| bad_endpoint(issuer, name, why))).transpose()
        };
        let token_endpoint = endpoint("token_endpoint", document.token_endpoint)?
            .ok_or_else(|| OauthError::NotOffered { issuer: issuer.to_string(), what: "`token_endpoint`" })?;
        Ok(Self {
            issuer: issuer.clone(),
            authorization_endpoint: endpoint("authorization_endpoint", document.authorization_endpoint)?,
            token_endpoint,
            device_authorization_endpoint: endpoint(
                "device_authorization_endpoint",
                document.device_authorization_endpoint,
            )?,
            revocation_endpoint: endpoint("revocation_endpoint", document.revocation_endpoint)?,
            names_issuer: document.authorization_response_iss_parameter_supported.unwrap_or_default(),
            scopes: document.scopes_supported.unwrap_or_default(),
            authentications: document.token_endpoint_auth_methods_supported,
            challenge_methods: document.code_challenge_methods_supported,
        })
    }

    /// Returns how a client with this secret shows who it is: by Basic where the server takes that, or says nothing
    /// (RFC 8414 section 2), else by fields of the form.
    pub fn authentication_with(&self, secret: Option<&Secret>) -> Result<ClientAuthentication, OauthError> {
        if secret.is_none() {
            return Ok(ClientAuthentication::None);
        }
        let Some(methods) = &self.authentications else {
            return Ok(ClientAuthentication::Basic);
        };
        let takes = |method: &str| methods.iter().any(|known| known == method);
        if takes("client_secret_basic") {
            Ok(ClientAuthentication::Basic)
        } else if takes("client_secret_post") {
            Ok(ClientAuthentication::Post)
        } else {
            let what = "way for a client to show its secret (`client_secret_basic`, `client_secret_post`)";
            Err(OauthError::NotOffered { issuer: self.issuer.to_string(), what })
        }
    }

    /// Returns the scopes that a person's login asks for where nobody says which: those that make it last and tell whose
    /// it is, as far as the server knows them.
    pub fn default_scopes(&self) -> Vec<String> {
        let known = |scope: &&str| self.scopes.iter().any(|known| known == scope);
        ["openid", "offline_access"].into_iter().filter(known).map(str::to_owned).collect()
    }

    /// Returns whether the server is known not to take the one kind of challenge that is sent. One that says nothing may
    /// well take it (RFC 8414 section 2), and one that does not ignores it.
    pub(super) fn refuses_s256(&self) -> bool {
        self.challenge_methods.as_ref().is_some_and(|methods| !methods.iter().any(|method| method == "S256"))
    }
}

fn bad_endpoint(issuer: &Issuer, endpoint: &'static str, why: &'static str) -> OauthError {
    OauthError::BadEndpoint { issuer: issuer.to_string(), endpoint, why }
}

fn endpoint(issuer: &Issuer, text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "it is not a URL")?;
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a fragment, or a user name or password");
    }
    if !is_safe(&url, is_loopback(issuer.url())) {
        return Err("it is not https");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn metadata(issuer: &str, change: impl FnOnce(&mut Value)) -> Result<Metadata, OauthError> {
        let mut document = json!({"issuer": issuer, "token_endpoint": format!("{issuer}/token")});
        change(&mut document);
        Metadata::of(&Issuer::parse(issuer).unwrap(), serde_json::from_value(document).unwrap())
    }

    #[test]
    fn the_issuer_is_compared_byte_for_byte() {
        for found in ["https://h/", "https://H", "https://h:443", "https://h/x", "http://h"] {
            let error = metadata("https://h", |document| document["issuer"] = found.into()).unwrap_err();
            assert!(matches!(error, OauthError::OtherIssuer { .. }), "{found}: {error:?}");
        }
        assert!(metadata("https://h", |_| ()).is_ok());
    }

    #[test]
    fn endpoints_are_https_and_on_loopback_only_for_an_issuer_there() {
        for (issuer, endpoint, fits) in [
            ("https://h", "https://elsewhere/token?tenant=1", true),
            ("https://h", "http://h/token", false),
            ("https://h", "http://127.0.0.1/token", false),
            ("https://h", "https://u:p@h/token", false),
            ("https://h", "https://h/token#x", false),
            ("https://h", "/token", false),
            ("http://127.0.0.1:1", "http://localhost:2/token", true),
            ("http://127.0.0.1:1", "http://h/token", false),
        ] {
            for name in
                ["token_endpoint", "revocation_endpoint", "device_authorization_endpoint", "authorization_endpoint"]
            {
                let found = metadata(issuer, |document| document[name] = endpoint.into());
                assert_eq!(found.is_ok(), fits, "{name} of {issuer}: {endpoint}: {found:?}");
            }
        }
    }

    #[test]
    fn a_client_shows_its_secret_as_the_server_takes_it() {
        let secret = Secret::new("s");
        for (methods, expected) in [
            (json!(null), Some(ClientAuthentication::Basic)),
            (json!(["client_secret_post", "client_secret_basic"]), Some(ClientAuthentication::Basic)),
            (json!(["none", "client_secret_post"]), Some(ClientAuthentication::Post)),
            (json!(["private_key_jwt"]), None),
        ] {
            let found =
                metadata("https://h", |document| document["token_endpoint_auth_methods_supported"] = methods.clone());
            let found = found.unwrap();
            assert_eq!(found.authentication_with(Some(&secret)).ok(), expected, "{methods}");
            assert_eq!(found.authentication_with(None).unwrap(), ClientAuthentication::None);
        }
    }

    #[test]
    fn what_a_login_asks_for_is_what_the_server_knows() {
        for (scopes, expected) in [
            (json!(["profile", "offline_access", "openid"]), &["openid", "offline_access"][..]),
            (json!(["openid"]), &["openid"]),
            (json!(null), &[]),
        ] {
            let found = metadata("https://h", |document| document["scopes_supported"] = scopes.clone()).unwrap();
            assert_eq!(found.default_scopes(), expected, "{scopes}");
        }
    }

    #[test]
    fn only_a_server_that_says_so_refuses_the_challenge() {
        for (methods, refuses) in [(json!(null), false), (json!(["plain", "S256"]), false), (json!(["plain"]), true)] {
            let found =
                metadata("https://h", |document| document["code_challenge_methods_supported"] = methods.clone());
            assert_eq!(found.unwrap().refuses_s256(), refuses, "{methods}");
        }
    }
}
