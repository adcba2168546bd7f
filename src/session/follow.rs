//! Following redirects (RFC 9110 section 15.4), for methods that change nothing.
//!
//! - On the session's origin the request keeps its token, headers and body.
//! - Whoever is on another origin gets a bare request: no token, none of the headers, no body. Back on the session's origin
//!   it stays bare: somebody else chose that address.
//! - No redirect leads from https to http.
//! - Ten are followed; the next redirect is the answer.

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LOCATION};
use tracing::debug;
use url::Url;

use super::deadline::Deadline;
use super::{Answer, Request, SendError, Session};
use crate::http::{Body, ClientOptions, LazyClient, ServerUrl};

const MOST_REDIRECTS: usize = 10;

/// Why the answer is a redirect although redirects were to be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFollowed {
    /// Ten were followed before it.
    TooMany,
    /// It leads from https to http.
    ClearText,
    /// It names no http or https address.
    Nowhere,
}

impl Session {
    /// Sends `request` and follows redirects. Clients for other origins are set up with `options`.
    pub async fn send_following(&self, request: &Request, options: &ClientOptions) -> Result<Answer, SendError> {
        let deadline = Deadline::of(request);
        let mut request = request.clone();
        let mut followed = 0;
        let mut bare = false;
        loop {
            let sent = if bare { self.send_bare(&request, options).await } else { self.send(&request).await };
            let mut answer = sent.map_err(|error| Deadline::of_the_whole(deadline, error))?;
            answer.deadline = deadline;
            let next = match target(&request.url, answer.response.status(), answer.response.headers()) {
                Ok(Some(_)) if followed == MOST_REDIRECTS => Err(NotFollowed::TooMany),
                next => next,
            };
            let url = match next {
                Ok(Some(url)) => url,
                Ok(None) => return Ok(answer),
                Err(why) => {
                    answer.not_followed = Some(why);
                    return Ok(answer);
                }
            };
            debug!(origin = url.origin().ascii_serialization(), "following a redirect");
            followed += 1;
            bare |= url.origin() != self.server.origin();
            if bare {
                request.headers = HeaderMap::new();
            }
            if bare || answer.response.status() == StatusCode::SEE_OTHER {
                request.body = Body::none();
            }
            request.timeout = deadline.map(Deadline::left);
            request.url = url;
        }
    }

    /// Sends `request` without a token, to whatever origin.
    async fn send_bare(&self, request: &Request, options: &ClientOptions) -> Result<Answer, SendError> {
        let origin = request.url.origin().ascii_serialization();
        // An origin alone is always an address.
        let server = ServerUrl::parse(&origin).map_err(|_| SendError::WrongOrigin(origin.clone()))?;
        let client = LazyClient::new(server, options.clone());
        let tokens = self.gate.snapshot();
        let sending = self.exchange(&client, request, &tokens, false);
        let deadline = Deadline::of(request);
        let response = match deadline {
            Some(deadline) => deadline.bound(sending).await.unwrap_or_else(|_| Err(deadline.missed_by(origin)))?,
            None => sending.await?,
        };
        let mut answer = Answer::new(response, &tokens);
        answer.deadline = deadline;
        Ok(answer)
    }
}

/// Returns where an answer of `status` with `headers` leads from `from`, or `None` where it is no redirect.
fn target(from: &Url, status: StatusCode, headers: &HeaderMap) -> Result<Option<Url>, NotFollowed> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = headers.get(LOCATION).and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
    let mut url = location.and_then(|location| from.join(location).ok()).ok_or(NotFollowed::Nowhere)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(NotFollowed::Nowhere);
    }
    if from.scheme() == "https" && url.scheme() == "http" {
        return Err(NotFollowed::ClearText);
    }
    // What a server writes there would go out as credentials of our own making.
    if url.set_username("").and_then(|()| url.set_password(None)).is_err() {
        return Err(NotFollowed::Nowhere);
    }
    url.set_fragment(None);
    Ok(Some(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led(from: &str, status: u16, location: &str) -> Result<Option<String>, NotFollowed> {
        let headers = HeaderMap::from_iter([(LOCATION, location.parse().unwrap())]);
        let led = target(&from.parse().unwrap(), StatusCode::from_u16(status).unwrap(), &headers);
        led.map(|url| url.map(Into::into))
    }

    #[test]
    fn a_location_is_read_against_the_address_that_gave_it() {
        for (location, expected) in [
            ("/b", "https://h/b"),
            ("b?x=1", "https://h/a/b?x=1"),
            ("//other/b", "https://other/b"),
            ("https://other:8443/b#part", "https://other:8443/b"),
            ("https://user:secret@other/", "https://other/"),
            ("", "https://h/a/"),
        ] {
            for status in [301, 302, 303, 307, 308] {
                assert_eq!(led("https://h/a/", status, location), Ok(Some(expected.into())), "{location}");
            }
        }
    }

    #[test]
    fn not_every_3xx_leads_somewhere() {
        for status in [200, 300, 304, 305, 306, 404] {
            assert_eq!(led("https://h/", status, "/b"), Ok(None), "{status}");
        }
        for location in ["ftp://h/b", "javascript:alert(1)", "http://", "mailto:me", "https://[::"] {
            assert_eq!(led("https://h/", 302, location), Err(NotFollowed::Nowhere), "{location}");
        }
        assert_eq!(
            target(&"https://h/".parse().unwrap(), StatusCode::FOUND, &HeaderMap::new()),
            Err(NotFollowed::Nowhere)
        );
    }

    #[test]
    fn none_leads_from_https_to_http() {
        assert_eq!(led("https://h/", 302, "http://h/"), Err(NotFollowed::ClearText));
        assert_eq!(led("http://h/", 302, "https://h/"), Ok(Some("https://h/".into())));
    }
}
