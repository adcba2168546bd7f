//! The HTTP client, set up for one server.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response};

use super::ServerUrl;

pub(crate) const CONNECT_BOUND: Duration = Duration::from_secs(10);
/// What the program calls itself.
pub(super) const AGENT: &str = concat!("authcli/", env!("CARGO_PKG_VERSION"));

/// What a client is set up with beside its server.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    authorities: Option<Vec<Certificate>>,
    passes_on: bool,
}

/// A text holds no certificate that could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it holds no certificate in PEM form")]
pub struct NoCertificate;

impl ClientOptions {
    /// Trusts the certificate authorities of `pem` (RFC 7468), one or more, and none of the system's: whoever has a CA of
    /// his own means to be certain of the server.
    pub fn with_authorities(mut self, pem: &[u8]) -> Result<Self, NoCertificate> {
        let read = Certificate::from_pem_bundle(pem).map_err(|_| NoCertificate)?;
        if read.is_empty() {
            return Err(NoCertificate);
        }
        self.authorities = Some(read);
        Ok(self)
    }

    /// For who passes requests and answers on: bodies are left as they come, no name is added, and only HTTP/1.1 is spoken,
    /// in which alone a connection can be upgraded.
    #[must_use]
    pub fn passing_on(self) -> Self {
        Self { passes_on: true, ..self }
    }

    /// Returns whether requests and answers are another's, to be passed on as they are.
    pub(super) fn passes_on(&self) -> bool {
        self.passes_on
    }

    /// Returns whether the authorities to trust have been chosen.
    pub fn has_authorities(&self) -> bool {
        self.authorities.is_some()
    }
}

/// Makes the client that a [`LazyClient`](super::LazyClient) promises.
///
/// For an `http://` server it loads no TLS roots, which would take most of the time of a short call; such a client could
/// trust no https server. On loopback it ignores proxies of the environment: they could not reach this machine.
pub(super) fn client_for(server: &ServerUrl, options: &ClientOptions) -> reqwest::Result<Client> {
    let mut builder = Client::builder().redirect(Policy::none()).connect_timeout(CONNECT_BOUND);
    if !server.is_https() {
        builder = builder.tls_certs_only([]);
    } else if let Some(authorities) = &options.authorities {
        builder = builder.tls_certs_only(authorities.clone());
    }
    if server.is_loopback() {
        builder = builder.no_proxy();
    }
    if options.passes_on {
        builder = builder.http1_only().no_gzip().no_brotli().no_zstd().no_deflate();
    } else {
        builder = builder.user_agent(AGENT);
    }
    builder.build()
}

/// Returns how long the server asks to be left alone, in either form of RFC 9110 section 10.2.3.
pub fn retry_after(response: &Response, now: Timestamp) -> Option<Duration> {
    parse_retry_after(response.headers(), now)
}

fn parse_retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = date(text)?;
    // By the server's own clock where it tells it (RFC 9110 section 6.6.1): the local one may be a day off.
    let now = server_time(headers).unwrap_or(now);
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

/// Returns what time it is by the server's clock, in whole seconds, where it tells it (RFC 9110 section 6.6.1).
pub(crate) fn server_time(headers: &HeaderMap) -> Option<Timestamp> {
    date(headers.get(DATE)?.to_str().ok()?)
}

fn date(text: &str) -> Option<Timestamp> {
    Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_retry_after_are_read() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("3", Some(3)),
            (" 0 ", Some(0)),
            ("Thu, 01 Jan 2026 00:00:05 GMT", Some(5)),
            ("Wed, 31 Dec 2025 00:00:05 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("99999999999999999999999", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(parse_retry_after(&headers, now), expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn a_date_is_read_off_the_servers_own_clock_where_it_tells_it() {
        let tomorrow = [(RETRY_AFTER, "Fri, 02 Jan 2026 00:00:05 GMT"), (DATE, "Fri, 02 Jan 2026 00:00:02 GMT")];
        let headers = HeaderMap::from_iter(tomorrow.map(|(name, value)| (name, value.parse().unwrap())));
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(parse_retry_after(&headers, now), Some(Duration::from_secs(3)));
    }
}
