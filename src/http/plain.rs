//! HTTP in the clear to this machine itself, where there are no rules to keep: no certificates, no proxies, no redirects.
//!
//! The general client looks for all of those with every request, and reads its address three times. At a server on loopback
//! that is more than a third of all that a request costs, and would be what a burst measures.

use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use reqwest::header::{ACCEPT, HeaderValue, USER_AGENT};
use reqwest::{Body, Response, ResponseBuilderExt as _};

use super::sending::{Cause, Head};
use super::transport::{AGENT, CONNECT_BOUND};

/// Servers close idle connections sooner; a shorter time of ours would only cost new ones.
const IDLE_BOUND: Duration = Duration::from_secs(90);

/// Connections to one server, kept for later requests. They are HTTP/1.1.
#[derive(Clone, Debug)]
pub(crate) struct PlainClient {
    client: Client<HttpConnector, Body>,
    names_itself: bool,
}

impl PlainClient {
    /// `names_itself`: a `User-Agent` is added where there is none.
    pub(super) fn new(names_itself: bool) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_BOUND));
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_BOUND);
        Self { client: builder.build(connector), names_itself }
    }

    /// Sends one request and returns its answer's head, its body to be read.
    pub(super) async fn send(&self, head: Head, body: Option<Body>) -> Result<Response, Cause> {
        let Head { method, url, mut headers } = head;
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        if self.names_itself {
            headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        }
        let mut request = hyper::Request::new(body.unwrap_or_default());
        *request.method_mut() = method;
        *request.uri_mut() = url.as_str().parse().map_err(hyper::http::Error::from)?;
        *request.headers_mut() = headers;
        let (parts, body) = self.client.request(request).await?.into_parts();
        let mut answer = hyper::Response::builder().url(url).body(Body::wrap(body))?;
        *answer.status_mut() = parts.status;
        *answer.version_mut() = parts.version;
        *answer.headers_mut() = parts.headers;
        // Among them is the way to an upgraded connection.
        answer.extensions_mut().extend(parts.extensions);
        Ok(answer.into())
    }
}
