//! What becomes of the headers on their way through.
//!
//! - What belongs to one connection stays there (RFC 9110 section 7.6.1), and so does what a client says to a proxy alone.
//! - The server sees itself addressed, not the proxy; and never the key: an address of the proxy in a header becomes the
//!   server's, and a value that holds the key in another way is left out.
//! - Addresses of the server in `Location`, `Content-Location` and `Link` become the proxy's, so that whoever follows them
//!   comes through it again; cookies of the server become those of the proxy.
//! - Of the proxy itself nothing is told: no `Via`, no `Forwarded`.
//!
//! A browser sends the cookies of every program on this machine, whatever its port (RFC 6265 section 8.5): so cookies pass
//! for all but browsers.

mod references;
#[cfg(test)]
mod tests;

use hyper::header::{
    ALT_SVC, CONNECTION, CONTENT_LENGTH, CONTENT_LOCATION, COOKIE, EXPECT, Entry, HOST, HeaderMap, HeaderName,
    HeaderValue, LINK, LOCATION, ORIGIN, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, REFERER, SET_COOKIE, TE,
    TRANSFER_ENCODING, UPGRADE,
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
/// Where a `COPY` or `MOVE` goes (RFC 4918 section 10.3).
const DESTINATION: HeaderName = HeaderName::from_static("destination");
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
        for name in [REFERER, DESTINATION] {
            replace(headers, name, |text| self.servers(text));
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

    /// Makes the headers of an answer to `asked` into those for the client.
    pub(super) fn for_client(&self, headers: &mut HeaderMap, asked: &Url) {
        // Of two that tell where a body ends one holds, and is this connection's (RFC 9112 section 6.3).
        if headers.contains_key(TRANSFER_ENCODING) {
            headers.remove(CONTENT_LENGTH);
        }
        remove_those_of_one_connection(headers);
        // What else serves the server's origin does not serve the proxy's.
        headers.remove(ALT_SVC);
        if self.from_browser {
            headers.remove(SET_COOKIE);
        }
        replace(headers, SET_COOKIE, |text| Some(self.proxys_cookie(text)));
        for name in [LOCATION, CONTENT_LOCATION] {
            replace(headers, name, |text| self.proxys(text, asked));
        }
        replace(headers, LINK, |text| Some(self.links(text, asked)));
    }
}

fn replace(headers: &mut HeaderMap, name: HeaderName, with: impl Fn(&str) -> Option<String>) {
    if let Entry::Occupied(mut entry) = headers.entry(name) {
        for value in entry.iter_mut() {
            let replaced = std::str::from_utf8(value.as_bytes()).ok().and_then(&with);
            if let Some(replaced) = replaced.and_then(|text| HeaderValue::try_from(text).ok()) {
                *value = replaced;
            }
        }
    }
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
