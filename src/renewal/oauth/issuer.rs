//! What an authorization server calls itself.

use std::fmt;

use url::Url;

use super::error::OauthError;
use crate::http::is_loopback;
use crate::renewal::answer::brief;

/// An authorization server, as it calls itself (RFC 8414 section 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// As it was typed; never normalised.
    text: String,
    url: Url,
}

impl Issuer {
    /// Reads an issuer: a whole https URL without query and fragment; on loopback http will do.
    pub fn parse(text: &str) -> Result<Self, OauthError> {
        let refused = |why| OauthError::NoIssuer { issuer: brief(text), why };
        let url = Url::parse(text).map_err(|_| refused("it is not a whole URL, such as https://id.example.com"))?;
        if !url.username().is_empty() || url.password().is_some() {
            // Not shown: it may be a password.
            return Err(OauthError::NoIssuer { issuer: "…".into(), why: "it holds a user name or password" });
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refused("it holds a query or a fragment"));
        }
        if !is_safe(&url, true) {
            return Err(refused("it is not https"));
        }
        Ok(Self { text: text.to_owned(), url })
    }

    /// Returns the issuer's text, as it was typed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the issuer as an address.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns where the metadata may be: OpenID's place first, which most servers know, then that of OAuth 2.0.
    pub(super) fn metadata_addresses(&self) -> [Url; 2] {
        let path = self.url.path().trim_end_matches('/').to_owned();
        [format!("{path}/.well-known/openid-configuration"), format!("/.well-known/oauth-authorization-server{path}")]
            .map(|path| {
                let mut url = self.url.clone();
                url.set_path(&path);
                url
            })
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&brief(&self.text))
    }
}

/// Returns whether secrets may go to `url`. `is_here`: the issuer is on this machine.
pub(super) fn is_safe(url: &Url, is_here: bool) -> bool {
    url.scheme() == "https" || url.scheme() == "http" && is_here && is_loopback(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_a_whole_https_url() {
        for text in
            ["https://id.example.com", "https://h/tenant/", "http://127.0.0.1:1", "http://localhost", "http://[::1]:9"]
        {
            assert_eq!(Issuer::parse(text).unwrap().as_str(), text);
        }
        for text in [
            "id.example.com",
            "http://id.example.com",
            "https://h?x",
            "https://h#x",
            "https://u:canary@h",
            "ftp://h",
            "",
        ] {
            let error = Issuer::parse(text).unwrap_err().to_string();
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn metadata_is_looked_for_after_the_path_and_before_it() {
        for (issuer, openid, oauth) in [
            ("https://h", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"),
            ("https://h/", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"),
            ("https://h/a/b", "/a/b/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/a/b"),
            ("https://h/a/", "/a/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/a"),
        ] {
            let addresses = Issuer::parse(issuer).unwrap().metadata_addresses().map(|url| url.to_string());
            assert_eq!(addresses, [openid, oauth].map(|path| format!("https://h{path}")), "{issuer}");
        }
    }
}
