//! One request on its way, and the head of what comes back.

use std::error::Error;
use std::io;

use reqwest::header::HeaderMap;
use reqwest::{Body, Client, Method, Response};
use url::Url;

use super::plain::PlainClient;

/// All of a request but its body. The address is the whole one; nothing is added to the headers but what names the client
/// and says that any type of content will do.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
}

/// What takes a request to its server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Transport<'a> {
    /// With certificates, proxies and whatever else the way asks for.
    Client(&'a Client),
    /// Where there is none of that.
    Plain(&'a PlainClient),
}

/// No answer came: there was no connection, or it broke.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct TransportError(Cause);

/// Why not.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cause {
    #[error(transparent)]
    Client(reqwest::Error),
    #[error(transparent)]
    Plain(#[from] hyper_util::client::legacy::Error),
    #[error("no request can be made of it")]
    Request(#[from] hyper::http::Error),
}

impl Transport<'_> {
    /// Sends one request and returns its answer's head; the body is still to be read.
    pub(crate) async fn send(self, head: Head, body: Option<Body>) -> Result<Response, TransportError> {
        match self {
            Self::Plain(client) => client.send(head, body).await.map_err(TransportError),
            Self::Client(client) => {
                let mut request = reqwest::Request::new(head.method, head.url);
                *request.headers_mut() = head.headers;
                *request.body_mut() = body;
                // Whoever asked knows the address.
                client.execute(request).await.map_err(|error| TransportError(Cause::Client(error.without_url())))
            }
        }
    }
}

impl TransportError {
    /// Returns whether no connection came about: then nothing was sent.
    pub fn is_connect(&self) -> bool {
        match &self.0 {
            Cause::Client(error) => error.is_connect(),
            Cause::Plain(error) => error.is_connect(),
            Cause::Request(_) => false,
        }
    }

    /// Returns whether that was for lack of time.
    pub fn is_timeout(&self) -> bool {
        match &self.0 {
            Cause::Client(error) => error.is_timeout(),
            Cause::Plain(error) => is_timed_out(error),
            Cause::Request(_) => false,
        }
    }

    /// Returns whether there can be no such request: nothing was sent, and no repetition mends that.
    pub fn is_request(&self) -> bool {
        match &self.0 {
            Cause::Client(error) => error.is_builder(),
            Cause::Plain(_) => false,
            Cause::Request(_) => true,
        }
    }
}

fn is_timed_out(error: &(dyn Error + 'static)) -> bool {
    let io = error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut);
    io || error.source().is_some_and(is_timed_out)
}
