//! What becomes of the headers on their way through.
//!
//! - What belongs to one connection stays there (RFC 9110 section 7.6.1), and so does what a client says to a proxy alone.
//! - The server sees itself addressed, not the proxy; and never the key: an address of the proxy in a header becomes the
//!   server's, and a value that holds the key in another way is left out.
//! - Addresses of the server in `Location`, `Content-Location` and `Link` become the proxy's, so that whoever follows them
//!   comes through it again.
//! - Nothing is added: no `Via`, no `Forwarded`. The server answers as though it had been asked without a proxy.
//!
//! A browser sends the cookies of every program on this machine, whatever its port (RFC 6265 section 8.5): so cookies pass
//! for all but browsers.

use hyper::header::{
    ALT_SVC, CONNECTION, CONTENT_LOCATION, COOKIE, EXPECT, Entry, HOST, HeaderMap, HeaderName, HeaderValue, LINK,
    LOCATION, ORIGIN, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE, TRANSFER_ENCODING, UPGRADE,
};
use url::Url;

use super::access::{Access, Admitted};
use crate::http::ServerUrl;

const OF_ONE_CONNECTION: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// Returns whether a client asks to go on with WebSocket (RFC 6455 section 4.1). No other protocol passes: in some
/// (`h2c`) requests could follow that nobody looked at.
pub(super) fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let lists = |name: &HeaderName, wanted: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(wanted))
    };
    lists(&CONNECTION, "upgrade") && lists(&UPGRADE, "websocket")
}

/// Adds what asks for WebSocket, or grants it.
pub(super) fn insert_websocket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
}

/// How addresses of one request read on either side.
pub(super) struct Addresses<'request> {
    access: &'request Access,
    server: &'request ServerUrl,
    /// `http://127.0.0.1:8080/KEY`
    own: String,
    from_browser: bool,
}

impl<'request> Addresses<'request> {
    pub(super) fn new(access: &'request Access, server: &'request ServerUrl, admitted: &Admitted<'_>) -> Self {
        let own = format!("http://{}{}", admitted.name, access.prefix());
        Self { access, server, own, from_browser: admitted.from_browser }
    }

    /// Makes the headers of a client's request into those for the server.
    pub(super) fn for_server(&self, headers: &mut HeaderMap) {
        let takes_trailers = headers.get(TE).is_some_and(|value| value == "trailers");
        remove_those_of_one_connection(headers);
        if takes_trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        // The address's, and the proxy's own business. The token's header is the session's: it replaces a client's.
        headers.remove(HOST);
        headers.remove(EXPECT);
        if self.from_browser {
            headers.remove(COOKIE);
        }
        // It was found to be the proxy's own.
        if let Entry::Occupied(mut origin) = headers.entry(ORIGIN)
            && let Ok(server) = HeaderValue::try_from(self.server.origin_text())
        {
            origin.insert(server);
        }
        self.hide_key(headers);
    }

    fn hide_key(&self, headers: &mut HeaderMap) {
        if !headers.values().any(|value| self.access.gives_away(value.as_bytes())) {
            return;
        }
        let names: Vec<_> = headers.keys().cloned().collect();
        for name in names {
            let Entry::Occupied(mut entry) = headers.entry(name) else { continue };
            if entry.iter().any(|value| self.access.gives_away(value.as_bytes())) {
                let replaced = entry.get().to_str().ok().and_then(|text| self.servers(text));
                match replaced.and_then(|text| HeaderValue::try_from(text).ok()) {
                    Some(replaced) => drop(entry.insert_mult(replaced)),
                    None => drop(entry.remove_entry_mult()),
                }
            }
        }
    }

    /// Returns the server's address for one of the proxy's own.
    fn servers(&self, text: &str) -> Option<String> {
        let rest = text.strip_prefix(&self.own)?;
        let replaced = format!("{}{}", self.server.url(), rest.strip_prefix('/').unwrap_or(rest));
        (!self.access.gives_away(replaced.as_bytes())).then_some(replaced)
    }

    /// Makes the headers of an answer to `asked` into those for the client.
    pub(super) fn for_client(&self, headers: &mut HeaderMap, asked: &Url) {
        remove_those_of_one_connection(headers);
        // What else serves the server's origin does not serve the proxy's.
        headers.remove(ALT_SVC);
        if self.from_browser {
            headers.remove(SET_COOKIE);
        }
        for name in [LOCATION, CONTENT_LOCATION] {
            replace(headers, name, |text| self.proxys(text, asked));
        }
        replace(headers, LINK, |text| Some(self.links(text, asked)));
    }

    /// Returns the proxy's address for a reference to something under the server's; `None` if it leads elsewhere.
    fn proxys(&self, reference: &str, asked: &Url) -> Option<String> {
        let url = asked.join(reference).ok()?;
        let base = self.server.url();
        if url.origin() != base.origin() {
            return elsewhere(reference, &url);
        }
        let path = url.path();
        let rest = match path.strip_prefix(base.path()) {
            Some(rest) => rest,
            None if base.path().strip_suffix('/') == Some(path) => "",
            None => return elsewhere(reference, &url),
        };
        let mut own = format!("{}/{rest}", self.own);
        for (mark, part) in [('?', url.query()), ('#', url.fragment())] {
            if let Some(part) = part {
                own.push(mark);
                own.push_str(part);
            }
        }
        Some(own)
    }

    /// Does the same with each `<reference>` of a `Link` (RFC 8288 section 3); quoted texts are left alone.
    fn links(&self, text: &str, asked: &Url) -> String {
        let mut replaced = String::with_capacity(text.len());
        let (mut quoted, mut rest) = (false, text);
        while let Some(next) = rest.chars().next() {
            let reference = rest.split_once('>').map(|(reference, _)| reference).filter(|_| next == '<' && !quoted);
            if let Some(reference) = reference
                && let Some(own) = self.proxys(&reference[1..], asked)
            {
                replaced.push('<');
                replaced.push_str(&own);
                rest = &rest[reference.len()..];
                continue;
            }
            quoted ^= next == '"';
            // What a backslash escapes ends no quoted text.
            let taken = if quoted && next == '\\' { 2 } else { 1 };
            let taken = rest.char_indices().nth(taken).map_or(rest.len(), |(at, _)| at);
            replaced.push_str(&rest[..taken]);
            rest = &rest[taken..];
        }
        replaced
    }
}

fn replace(headers: &mut HeaderMap, name: HeaderName, with: impl Fn(&str) -> Option<String>) {
    if let Entry::Occupied(mut entry) = headers.entry(name) {
        for value in entry.iter_mut() {
            let replaced = value.to_str().ok().and_then(&with);
            if let Some(replaced) = replaced.and_then(|text| HeaderValue::try_from(text).ok()) {
                *value = replaced;
            }
        }
    }
}

/// A reference without an origin would lead to the proxy, where there is nothing of the kind.
fn elsewhere(reference: &str, url: &Url) -> Option<String> {
    (Url::parse(reference).is_err()).then(|| url.to_string())
}

fn remove_those_of_one_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&OF_ONE_CONNECTION) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use hyper::http::request::Parts;

    use super::*;

    const SERVER: &str = "https://api.example.com/v1";

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    fn shown(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    /// Lets `act` work with the addresses of a request with such headers, whose address had the run's key for `KEY`.
    fn with_addresses<T>(lines: &[(&str, &str)], act: impl FnOnce(&Addresses<'_>, &str, HeaderMap) -> T) -> T {
        let access = Access::to(Some("127.0.0.1:8080".parse().unwrap())).unwrap();
        let key = access.prefix()[1..].to_owned();
        let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, value.replace("KEY", &key))).collect();
        let mut request = hyper::Request::builder().uri(format!("/{key}/x")).header("host", "127.0.0.1:8080");
        for (name, value) in &lines {
            request = request.header(*name, value);
        }
        let (parts, ()): (Parts, ()) = request.body(()).unwrap().into_parts();
        let server = ServerUrl::parse(SERVER).unwrap();
        let admitted = access.check(&parts).unwrap();
        act(&Addresses::new(&access, &server, &admitted), &key, parts.headers.clone())
    }

    fn for_server(lines: &[(&str, &str)]) -> Vec<String> {
        with_addresses(lines, |addresses, _, mut headers| {
            addresses.for_server(&mut headers);
            shown(&headers)
        })
    }

    fn for_client(request: &[(&str, &str)], answer: &[(&str, &str)]) -> Vec<String> {
        with_addresses(request, |addresses, key, _| {
            let mut headers = headers(answer);
            addresses.for_client(&mut headers, &format!("{SERVER}/users/7?q").parse().unwrap());
            shown(&headers).into_iter().map(|line| line.replace(key, "KEY")).collect()
        })
    }

    #[test]
    fn what_belongs_to_one_connection_or_to_the_proxy_stays_here() {
        let sent = for_server(&[
            ("connection", "keep-alive, X-Hop"),
            ("connection", "Upgrade"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic eDp5"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("expect", "100-continue"),
            ("accept-encoding", "br"),
            ("x-forwarded-for", "192.0.2.1"),
            ("cookie", "a=b"),
        ]);
        assert_eq!(sent, ["accept-encoding: br", "cookie: a=b", "x-forwarded-for: 192.0.2.1"]);
        assert_eq!(for_server(&[("te", "trailers")]), ["te: trailers"]);
    }

    #[test]
    fn the_server_sees_its_own_address_and_never_the_key() {
        for (name, value, expected) in [
            ("origin", "http://127.0.0.1:8080", Some("https://api.example.com")),
            ("referer", "http://127.0.0.1:8080/KEY/users?a", Some("https://api.example.com/v1/users?a")),
            ("referer", "http://127.0.0.1:8080/KEY", Some("https://api.example.com/v1/")),
            ("referer", "http://localhost:8080/KEY/users", None),
            ("destination", "http://127.0.0.1:8080/KEY/b", Some("https://api.example.com/v1/b")),
            ("x-any", "see KEY", None),
            ("referer", "http://127.0.0.1:8080/KEY/KEY", None),
            ("referer", "https://elsewhere.example/", Some("https://elsewhere.example/")),
        ] {
            let sent = for_server(&[(name, value)]);
            let expected: Vec<_> = expected.iter().map(|value| format!("{name}: {value}")).collect();
            assert_eq!(sent, expected, "{name}: {value}");
        }
    }

    #[test]
    fn whoever_follows_an_answer_comes_through_the_proxy_again() {
        const OWN: &str = "http://127.0.0.1:8080/KEY";
        for (name, value, expected) in [
            ("location", "https://api.example.com/v1/users/8?a=b#c", format!("{OWN}/users/8?a=b#c")),
            ("location", "https://api.example.com/v1", format!("{OWN}/")),
            ("location", "/v1/users/8", format!("{OWN}/users/8")),
            ("location", "8", format!("{OWN}/users/8")),
            ("location", "?page=2", format!("{OWN}/users/7?page=2")),
            ("content-location", "/v1/users/8", format!("{OWN}/users/8")),
            // There is no way through the proxy to these.
            ("location", "/login", "https://api.example.com/login".into()),
            ("location", "//other.example/x", "https://other.example/x".into()),
            ("location", "https://other.example/v1/x", "https://other.example/v1/x".into()),
            ("location", "http://api.example.com/v1/x", "http://api.example.com/v1/x".into()),
            (
                "link",
                r#"</v1/users?page=2>; rel="next"; title="a <\"> b", <https://other.example/>; rel=x, <https://api.example.com/v1/u>"#,
                format!(
                    r#"<{OWN}/users?page=2>; rel="next"; title="a <\"> b", <https://other.example/>; rel=x, <{OWN}/u>"#
                ),
            ),
            ("link", "<", "<".into()),
            ("link", "\"\\", "\"\\".into()),
        ] {
            assert_eq!(for_client(&[], &[(name, value)]), [format!("{name}: {expected}")], "{value}");
        }
    }

    #[test]
    fn of_an_answer_everything_else_passes() {
        let answer = [
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("alt-svc", "h3=\":443\""),
            ("content-encoding", "gzip"),
            ("set-cookie", "a=b"),
            ("www-authenticate", "Bearer"),
        ];
        assert_eq!(for_client(&[], &answer), ["content-encoding: gzip", "set-cookie: a=b", "www-authenticate: Bearer"]);
    }

    #[test]
    fn cookies_pass_for_all_but_browsers() {
        let browser = ("sec-fetch-site", "same-origin");
        assert_eq!(for_server(&[browser, ("cookie", "a=b")]), ["sec-fetch-site: same-origin"]);
        assert_eq!(for_client(&[browser], &[("set-cookie", "a=b")]), [""; 0]);
    }

    #[test]
    fn websocket_alone_is_an_upgrade_that_passes() {
        for (connection, upgrade, expected) in [
            ("Upgrade", "websocket", true),
            ("keep-alive, upgrade", "WebSocket", true),
            ("keep-alive", "websocket", false),
            ("Upgrade", "h2c", false),
            ("Upgrade, HTTP2-Settings", "h2c", false),
        ] {
            let headers = headers(&[("connection", connection), ("upgrade", upgrade)]);
            assert_eq!(asks_for_websocket(&headers), expected, "{connection}, {upgrade}");
        }
    }
}
