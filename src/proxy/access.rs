//! Who may use the proxy: whoever knows the run's key, as a program of this machine and never as a page of another site.
//!
//! What is refused is refused by its head alone, before a byte of its body is read and before anything is sent on.

use std::net::SocketAddr;

use hyper::Method;
use hyper::header::{HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::http::Uri;
use hyper::http::request::Parts;
use subtle::ConstantTimeEq as _;

use super::listen::names_of;
use crate::token::{RandomnessMissing, Secret, random_text};

/// What browsers say of where a request comes from (Fetch Metadata).
const SEC_FETCH_SITE: &str = "sec-fetch-site";
/// The only name that a client may use in an absolute address over a socket that has none.
const UNNAMED: &str = "localhost";

/// Decides about each request.
#[derive(Debug)]
pub(super) struct Access {
    /// How a client may call the proxy. Without an address any name does: nobody else can connect, so no name can have been
    /// made to lead here.
    names: Option<Vec<String>>,
    key: Option<Secret>,
}

/// A request that may pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Admitted<'request> {
    /// What is asked of the server: path and query, as they came.
    pub(super) target: &'request str,
    /// What the client calls the proxy: `127.0.0.1:8080`.
    pub(super) name: &'request str,
    /// Whether a browser sent it.
    pub(super) from_browser: bool,
}

/// Why a request may not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    #[error("this proxy passes requests to one server alone; it is no proxy for everything")]
    Tunnel,
    #[error("TRACE would answer with the token that the proxy adds")]
    Trace,
    #[error("the request is for another host than this proxy")]
    OtherHost,
    #[error("pages of other sites may not use this proxy")]
    ForeignPage,
    #[error("the request lacks the key of this proxy")]
    NoKey,
    #[error("the key of this proxy may stand at the beginning of the path alone")]
    KeyRepeated,
    #[error("the address is no path on the server")]
    NotAPath,
}

impl Access {
    /// For a proxy that listens at `address`, with a key drawn at random (192 bits); without an address, for one that only
    /// its owner can connect to, which needs none.
    pub(super) fn to(address: Option<SocketAddr>) -> Result<Self, RandomnessMissing> {
        let key = address.map(|_| random_text::<24>().map(Secret::new)).transpose()?;
        Ok(Self { names: address.map(names_of), key })
    }

    /// Returns what stands before every path: nothing, or `/` and the key.
    pub(super) fn prefix(&self) -> String {
        self.key.as_ref().map(|key| format!("/{}", key.expose())).unwrap_or_default()
    }

    /// Returns whether `text` holds the key, which nobody but the client may see.
    pub(super) fn gives_away(&self, text: &[u8]) -> bool {
        self.key.as_ref().is_some_and(|key| {
            let key = key.expose().as_bytes();
            text.windows(key.len()).any(|part| part == key)
        })
    }

    /// Admits a request, or says why not.
    pub(super) fn check<'request>(&self, request: &'request Parts) -> Result<Admitted<'request>, Denied> {
        match request.method {
            Method::CONNECT => return Err(Denied::Tunnel),
            Method::TRACE => return Err(Denied::Trace),
            _ => {}
        }
        let name = self.name_used(&request.uri, &request.headers)?;
        let from_browser = request.headers.contains_key(SEC_FETCH_SITE);
        if is_foreign(&request.headers, name) {
            return Err(Denied::ForeignPage);
        }
        let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
        let target = self.without_key(target)?;
        if self.gives_away(target.as_bytes()) {
            return Err(Denied::KeyRepeated);
        }
        Ok(Admitted { target, name, from_browser })
    }

    /// Returns the name by which the client calls the proxy, if it is one of its own. A name of the attacker's that leads
    /// here (DNS rebinding) is none; neither is that of a host that somebody takes us for a proxy to.
    fn name_used<'request>(&self, uri: &'request Uri, headers: &'request HeaderMap) -> Result<&'request str, Denied> {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next().and_then(text), hosts.next()) else {
            return Err(Denied::OtherHost);
        };
        let is_own = |name: &str| match &self.names {
            Some(names) => names.iter().any(|own| own.eq_ignore_ascii_case(name)),
            None => name.eq_ignore_ascii_case(UNNAMED),
        };
        // An absolute address counts, and `Host` does not (RFC 9112 section 3.2.2); but nobody sends one of ours with
        // another's.
        if uri.authority().is_some_and(|authority| !is_own(authority.as_str()) || uri.scheme_str() != Some("http")) {
            return Err(Denied::OtherHost);
        }
        if self.names.is_some() && !is_own(host) {
            return Err(Denied::OtherHost);
        }
        Ok(host)
    }

    fn without_key<'request>(&self, target: &'request str) -> Result<&'request str, Denied> {
        let Some(key) = &self.key else {
            return if target.starts_with('/') { Ok(target) } else { Err(Denied::NotAPath) };
        };
        let key = key.expose().as_bytes();
        // Compared in the same time whatever was sent, so that nobody finds it out letter by letter.
        let sent = target.strip_prefix('/').and_then(|rest| Some((rest.as_bytes().get(..key.len())?, rest)));
        let Some((_, rest)) = sent.filter(|(sent, _)| bool::from(sent.ct_eq(key))) else {
            return Err(Denied::NoKey);
        };
        let rest = &rest[key.len()..];
        if rest.is_empty() || rest.starts_with(['/', '?']) { Ok(rest) } else { Err(Denied::NoKey) }
    }
}

/// Returns whether a page of another site sent the request. Programs send neither header, or name the proxy itself; a
/// person who follows no link is `none`.
fn is_foreign(headers: &HeaderMap, name: &str) -> bool {
    let own = |origin: &HeaderValue| {
        text(origin).and_then(|text| text.strip_prefix("http://")).is_some_and(|own| own.eq_ignore_ascii_case(name))
    };
    let close = |site: &HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
    !headers.get_all(ORIGIN).iter().all(own) || !headers.get_all(SEC_FETCH_SITE).iter().all(close)
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn parts(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn on_tcp() -> Access {
        let names = names_of("127.0.0.1:8080".parse().unwrap());
        Access { names: Some(names), key: Some(Secret::new("KEY")) }
    }

    fn on_a_socket() -> Access {
        Access { names: None, key: None }
    }

    const HOST: (&str, &str) = ("host", "127.0.0.1:8080");

    #[test]
    fn the_key_stands_before_every_path() {
        for (target, expected) in [
            ("/KEY/users?a=b", Ok("/users?a=b")),
            ("/KEY", Ok("")),
            ("/KEY?a", Ok("?a")),
            ("/KEY//x/../%2e%2e/a%2Fb", Ok("//x/../%2e%2e/a%2Fb")),
            ("http://127.0.0.1:8080/KEY/x", Ok("/x")),
            ("/", Err(Denied::NoKey)),
            ("*", Err(Denied::NoKey)),
            ("/key/users", Err(Denied::NoKey)),
            ("/KEYS/users", Err(Denied::NoKey)),
            ("/KE", Err(Denied::NoKey)),
            ("//KEY/users", Err(Denied::NoKey)),
            ("/users?KEY", Err(Denied::NoKey)),
            ("/KEY/KEY/users", Err(Denied::KeyRepeated)),
            ("/KEY/users?back=http://127.0.0.1:8080/KEY/x", Err(Denied::KeyRepeated)),
        ] {
            let parts = parts("GET", target, &[HOST]);
            assert_eq!(on_tcp().check(&parts).map(|admitted| admitted.target), expected, "{target}");
        }
    }

    #[test]
    fn only_its_own_names_lead_to_it() {
        for (target, hosts, passes) in [
            ("/KEY/x", ["127.0.0.1:8080"].as_slice(), true),
            ("/KEY/x", &["localhost:8080"], true),
            ("/KEY/x", &["LOCALHOST:8080"], true),
            ("/KEY/x", &["localhost"], false),
            ("/KEY/x", &["localhost:8081"], false),
            ("/KEY/x", &["rebound.example:8080"], false),
            ("/KEY/x", &["127.0.0.1.nip.example:8080"], false),
            ("/KEY/x", &["127.0.0.2:8080"], false),
            ("/KEY/x", &[""], false),
            ("/KEY/x", &[], false),
            ("/KEY/x", &["127.0.0.1:8080", "127.0.0.1:8080"], false),
            ("http://api.example.com/KEY/x", &["api.example.com"], false),
            ("http://api.example.com/KEY/x", &["127.0.0.1:8080"], false),
            ("http://127.0.0.1:8080/KEY/x", &["api.example.com"], false),
            ("https://127.0.0.1:8080/KEY/x", &["127.0.0.1:8080"], false),
            ("http://user@127.0.0.1:8080/KEY/x", &["127.0.0.1:8080"], false),
        ] {
            let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            let parts = parts("GET", target, &headers);
            let checked = on_tcp().check(&parts);
            assert_eq!(checked.is_ok(), passes, "{target} at {hosts:?}: {checked:?}");
            assert!(passes || checked == Err(Denied::OtherHost), "{target} at {hosts:?}: {checked:?}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        for (headers, passes) in [
            ([("origin", "http://127.0.0.1:8080")].as_slice(), true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("origin", "https://127.0.0.1:8080")], false),
            (&[("origin", "http://localhost:8080")], false),
            (&[("origin", "http://127.0.0.1:3000")], false),
            (&[("origin", "https://evil.example")], false),
            (&[("origin", "null")], false),
            (&[("origin", "")], false),
            (&[("origin", "http://127.0.0.1:8080"), ("origin", "https://evil.example")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "cross-site")], false),
        ] {
            let parts = parts("GET", "/KEY/x", &[&[HOST], headers].concat());
            let expected = if passes { None } else { Some(Denied::ForeignPage) };
            assert_eq!(on_tcp().check(&parts).err(), expected, "{headers:?}");
        }
    }

    #[test]
    fn a_socket_of_ones_own_needs_no_key_and_any_name_does() {
        for (target, host, expected) in [
            ("/users", "localhost", Ok("/users")),
            ("/users", "api", Ok("/users")),
            ("/users", "", Ok("/users")),
            ("http://localhost/users", "localhost", Ok("/users")),
            ("http://api.example.com/users", "api.example.com", Err(Denied::OtherHost)),
            ("*", "localhost", Err(Denied::NotAPath)),
        ] {
            let parts = parts("GET", target, &[("host", host)]);
            assert_eq!(on_a_socket().check(&parts).map(|admitted| admitted.target), expected, "{target}");
        }
        let page = parts("GET", "/x", &[("host", "localhost"), ("origin", "http://localhost:5173")]);
        assert_eq!(on_a_socket().check(&page).err(), Some(Denied::ForeignPage));
    }

    #[test]
    fn neither_tunnels_nor_traces_pass() {
        for (method, target, expected) in [
            ("CONNECT", "api.example.com:443", Denied::Tunnel),
            ("CONNECT", "127.0.0.1:8080", Denied::Tunnel),
            ("TRACE", "/KEY/x", Denied::Trace),
        ] {
            assert_eq!(on_tcp().check(&parts(method, target, &[HOST])).err(), Some(expected), "{method} {target}");
        }
    }

    #[test]
    fn each_run_has_a_key_of_its_own() {
        let address = "127.0.0.1:8080".parse().unwrap();
        let [first, second] = [(); 2].map(|()| Access::to(Some(address)).unwrap());
        assert_ne!(first.prefix(), second.prefix());
        assert_eq!(first.prefix().len(), 1 + 32);
        assert_eq!(format!("{first:?}").find(&first.prefix()[1..]), None);
        assert_eq!(Access::to(None).unwrap().prefix(), "");
    }
}
