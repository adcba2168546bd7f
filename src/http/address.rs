//! Server addresses, and how request paths are joined to them.
//!
//! - Tokens belong to one *origin* (scheme, host, port; RFC 6454). No path, however it is written, leads to another.
//! - Without a scheme an address means https, and http on loopback. http to any other host needs the profile's leave.

use std::fmt;

use url::{Host, Origin, Url};

use crate::text::printable;

/// The address of an API: an http or https URL without user, query and fragment. Its path, if any, comes before every
/// request path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    /// Always ends in `/`.
    base: Url,
}

/// Why an address or path was refused. Nothing was connected to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The text is no URL.
    #[error("`{text}` is not a server address: {why}")]
    NotAnAddress {
        /// What was given, without what may be a password.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// Plain http to a host that is not this machine.
    #[error("{0} would carry tokens in clear text over the network")]
    ClearText(String),
    /// A path that leads elsewhere.
    #[error("`{path}` is not a path on {origin}: {why}")]
    NotAPath {
        /// What was given.
        path: String,
        /// Where it should have led.
        origin: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl ServerUrl {
    /// Reads an address as a person types it: `api.example.com`, `localhost:3000`, `https://h/v1`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let refused = |why: String| AddressError::NotAnAddress { text: without_user(text), why };
        let parsed = if text.contains("://") { Url::parse(text) } else { parse_without_scheme(text) };
        let mut base = parsed.map_err(|error| refused(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(refused(format!("its scheme is {}, not http or https", base.scheme())));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(refused("it holds a user name or password; log in with `authcli login` instead".into()));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(refused("it holds a query or a fragment".into()));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self { base })
    }

    /// Returns the address, or refuses it where it would send tokens over the network in clear text.
    pub fn checked(self, allow_http: bool) -> Result<Self, AddressError> {
        if self.base.scheme() == "http" && !self.is_loopback() && !allow_http {
            return Err(AddressError::ClearText(self.origin_text()));
        }
        Ok(self)
    }

    /// Takes up an address that was stored after it had been checked.
    pub fn from_stored(url: &Url) -> Result<Self, AddressError> {
        Self::parse(url.as_str())
    }

    /// Returns the address of the server that `endpoint`, stored after it had been checked, is on.
    pub fn of_endpoint(endpoint: &Url) -> Result<Self, AddressError> {
        Self::parse(&endpoint.origin().ascii_serialization())
    }

    /// Returns whether this address is this machine by its name alone; no name is looked up.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.base)
    }

    /// Returns whether connections are encrypted.
    pub fn is_https(&self) -> bool {
        self.base.scheme() == "https"
    }

    /// Returns the origin that tokens of this address belong to.
    pub fn origin(&self) -> Origin {
        self.base.origin()
    }

    /// Returns the origin as people write it: `https://api.example.com`.
    pub fn origin_text(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// Returns whether `url` is on this address's origin. Makes no copies: it is asked for every request.
    pub fn is_origin_of(&self, url: &Url) -> bool {
        let base = &self.base;
        url.scheme() == base.scheme()
            && url.host() == base.host()
            && url.port_or_known_default() == base.port_or_known_default()
    }

    /// Returns the whole address.
    pub fn url(&self) -> &Url {
        &self.base
    }

    /// Returns the URL of `path` under this address. `https://h/v1` and `users` or `/users` give `https://h/v1/users`;
    /// an absolute URL is taken as it is if it stays on the origin.
    pub fn join(&self, path: &str) -> Result<Url, AddressError> {
        let refused = |why| AddressError::NotAPath { path: without_user(path), origin: self.origin_text(), why };
        if path.chars().any(|character| character.is_control() || character == '\\') {
            return Err(refused("it holds a backslash or a control character"));
        }
        if path.starts_with("//") {
            return Err(refused("it names another host"));
        }
        let joined = if has_scheme(path) { Url::parse(path) } else { self.below(path) };
        let url = joined.map_err(|_| refused("it cannot be part of a URL"))?;
        if !self.is_origin_of(&url) {
            return Err(refused("it leads to another origin"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("it holds a user name or password"));
        }
        Ok(url)
    }

    /// Returns the URL of a path under this address. The address itself, which ends in a slash, is not read anew.
    fn below(&self, path: &str) -> Result<Url, url::ParseError> {
        // So that nothing at its beginning is taken for a scheme, a host or the root.
        self.base.join(&format!("./{}", path.strip_prefix('/').unwrap_or(path)))
    }

    /// Returns the URL of `target` (path and query, as they stand in the head of a request), under this address. Unlike
    /// with [`join`](Self::join), `//` at its beginning is no host but an empty segment. Dot segments, encoded ones too, are
    /// resolved, as every client does (RFC 3986 section 5.2.4), and must not lead out of the server's own path; an encoded
    /// slash stays one.
    pub fn join_target(&self, target: &str) -> Result<Url, AddressError> {
        let refused = |why| AddressError::NotAPath { path: without_user(target), origin: self.origin_text(), why };
        let path = target.split('?').next().unwrap_or_default();
        if path.contains('\\') {
            return Err(refused("it holds a backslash"));
        }
        let url = self.below(target).map_err(|_| refused("it cannot be part of a URL"))?;
        if !self.is_origin_of(&url) || !url.path().starts_with(self.base.path()) {
            return Err(refused("it leads out of the server's own path"));
        }
        Ok(url)
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.base.as_str().trim_end_matches('/'))
    }
}

/// Returns whether `url` is on this machine by its host's name alone; no name is looked up.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn parse_without_scheme(text: &str) -> Result<Url, url::ParseError> {
    let https = Url::parse(&format!("https://{text}"))?;
    let server = ServerUrl { base: https };
    if server.is_loopback() { Url::parse(&format!("http://{text}")) } else { Ok(server.base) }
}

/// Returns whether `path` begins like an absolute URL (RFC 3986 section 3.1). A colon in a later segment, or in a query,
/// does not make one.
fn has_scheme(path: &str) -> bool {
    let Some((scheme, rest)) = path.split_once(':') else {
        return false;
    };
    rest.starts_with("//")
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|character| character.is_ascii_alphanumeric() || "+-.".contains(character))
}

/// Returns `text` fit for a message: what stands before an `@` in the place of a host may be a password.
fn without_user(text: &str) -> String {
    let shown = printable(text);
    let host = shown.find("//").or_else(|| shown.find("\\\\")).map_or(0, |slashes| slashes + 2);
    let end = shown[host..].find(['/', '\\', '?', '#']).map_or(shown.len(), |length| host + length);
    match shown[host..end].rfind('@') {
        Some(at) => format!("{}…{}", &shown[..host], &shown[host + at..]),
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn server(text: &str) -> ServerUrl {
        ServerUrl::parse(text).unwrap()
    }

    #[test]
    fn no_scheme_means_https_and_http_on_loopback() {
        for (typed, meant) in [
            ("api.example.com", "https://api.example.com"),
            ("localhost:3000", "http://localhost:3000"),
            ("127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("[::1]:3000/v1", "http://[::1]:3000/v1"),
            ("api.example.com/v1/", "https://api.example.com/v1"),
            ("HTTPS://API.example.com:443", "https://api.example.com"),
        ] {
            assert_eq!(server(typed).to_string(), meant, "{typed}");
        }
    }

    #[test]
    fn addresses_that_are_none_are_refused_without_showing_a_password() {
        for text in
            ["", "ftp://h", "http://", "https://me:canary@h/", "h?x=1", "h#x", "http://[::", "file:///etc/passwd"]
        {
            let error = ServerUrl::parse(text).unwrap_err().to_string();
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn clear_text_stays_on_this_machine_unless_allowed() {
        assert!(server("http://api.example.com").checked(false).is_err());
        assert!(server("http://127.example.com").checked(false).is_err());
        assert!(server("http://api.example.com").checked(true).is_ok());
        for loopback in ["http://localhost", "http://127.3.2.1:80", "http://[::1]"] {
            assert!(server(loopback).checked(false).is_ok(), "{loopback}");
        }
    }

    #[test]
    fn paths_are_appended_to_the_servers_own() {
        for (base, path, expected) in [
            ("https://h/v1", "users", "https://h/v1/users"),
            ("https://h/v1", "/users", "https://h/v1/users"),
            ("https://h/v1/", "/users?a=b:c", "https://h/v1/users?a=b:c"),
            ("https://h", "", "https://h/"),
            ("https://h", "@evil.example", "https://h/@evil.example"),
            ("https://h", "a:b", "https://h/a:b"),
            ("https://h", "https://h/x", "https://h/x"),
            ("https://h", "https://H:443/x", "https://h/x"),
        ] {
            assert_eq!(server(base).join(path).unwrap().as_str(), expected, "{base} + {path}");
        }
    }

    #[test]
    fn targets_stay_under_the_servers_own_path() {
        for (base, target, expected) in [
            ("https://h/v1", "/users?a=b#c", Some("https://h/v1/users?a=b#c")),
            ("https://h/v1", "", Some("https://h/v1/")),
            ("https://h/v1", "?a", Some("https://h/v1/?a")),
            ("https://h/v1", "//evil.example/x", Some("https://h/v1//evil.example/x")),
            ("https://h/v1", "/https://evil.example/x", Some("https://h/v1/https://evil.example/x")),
            ("https://h", "@evil.example", Some("https://h/@evil.example")),
            ("https://h/v1", "/a%2Fb/..%2F..%2Fc", Some("https://h/v1/a%2Fb/..%2F..%2Fc")),
            ("https://h/v1", "/a/../b", Some("https://h/v1/b")),
            ("https://h/v1", "/a?../..\\", Some("https://h/v1/a?../..\\")),
            ("https://h/v1", "/../admin", None),
            ("https://h/v1", "/a/%2e%2E/.%2e/admin", None),
            ("https://h/v1", "/..\\admin", None),
            ("https://h/v1", "/..", None),
        ] {
            assert_eq!(server(base).join_target(target).ok().as_ref().map(Url::as_str), expected, "{base} + {target}");
        }
    }

    #[test]
    fn no_path_leads_to_another_origin() {
        for path in [
            "//evil.example/x",
            "\\\\evil.example",
            "/\\evil.example",
            "http://h/x",
            "https://h:8443/x",
            "https://evil.example/",
            "https://h@evil.example/",
            "/a\nb",
            "\t//evil.example",
        ] {
            assert!(server("https://h").join(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn passwords_are_left_out_however_the_address_is_written() {
        for text in
            ["https://me:canary@h/x", "//me:canary@h/x", "me:canary@h", "\\\\me:canary@h", "http://me:can@canary@h"]
        {
            let shown = without_user(text);
            assert!(!shown.contains("canary") && shown.contains('h'), "{shown}");
        }
        assert_eq!(without_user("/users/@me"), "/users/@me");
        assert_eq!(without_user("https://h/users/a@b"), "https://h/users/a@b");
    }

    proptest! {
        #[test]
        fn whatever_is_joined_stays_on_the_origin(path in "\\PC{0,40}", base in prop::sample::select(vec!["https://h/v1", "http://127.0.0.1:1"])) {
            let server = server(base);
            if let Ok(url) = server.join(&path) {
                prop_assert_eq!(url.origin(), server.origin());
            }
            if let Ok(url) = server.join_target(&path) {
                prop_assert_eq!(url.origin(), server.origin());
                prop_assert!(url.path().starts_with(server.url().path()));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            if let Err(error) = ServerUrl::parse(&text) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
