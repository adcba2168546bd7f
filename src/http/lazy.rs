//! A client that is there when it is needed.

use std::sync::{Arc, OnceLock};

use reqwest::Client;

use super::plain::PlainClient;
use super::sending::Transport;
use super::transport::client_for;
use super::{ClientOptions, ServerUrl};

/// The client for one server, made at its first use: the system's certificate authorities alone take milliseconds to
/// read, and who has a live token in the store sends nothing. Cloning is cheap; all clones share one client.
#[derive(Clone, Debug)]
pub struct LazyClient(Arc<Recipe>);

#[derive(Debug)]
struct Recipe {
    server: ServerUrl,
    options: ClientOptions,
    made: OnceLock<Client>,
    plain: OnceLock<PlainClient>,
}

/// No client could be set up: this system names no certificate authorities, or none that can be read. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("could not set up the HTTP client")]
pub struct NoClient(#[source] reqwest::Error);

impl LazyClient {
    /// The client for `server`. It follows no redirect: a token must not travel to where it was not meant to go. It
    /// bounds the time to connect, and no other: whoever sends a request knows what it may take.
    pub fn new(server: ServerUrl, options: ClientOptions) -> Self {
        Self(Arc::new(Recipe { server, options, made: OnceLock::new(), plain: OnceLock::new() }))
    }

    /// Returns one that is made alike, with connections of its own.
    pub(crate) fn anew(&self) -> Self {
        Self::new(self.0.server.clone(), self.0.options.clone())
    }

    /// Returns the client. What fails is tried again by the next call.
    pub fn get(&self) -> Result<&Client, NoClient> {
        let Recipe { server, options, made, .. } = &*self.0;
        if let Some(client) = made.get() {
            return Ok(client);
        }
        let client = client_for(server, options).map_err(NoClient)?;
        // Of two that were made at the same time one is used by everybody.
        Ok(made.get_or_init(|| client))
    }

    /// Returns what takes requests to the server, and to no other.
    pub(crate) fn transport(&self) -> Result<Transport<'_>, NoClient> {
        let Recipe { server, options, plain, .. } = &*self.0;
        if server.is_https() || !server.is_loopback() {
            return self.get().map(Transport::Client);
        }
        Ok(Transport::Plain(plain.get_or_init(|| PlainClient::new(!options.passes_on()))))
    }
}
