//! Call token-protected HTTP APIs as though tokens never expired.
//!
//! This library is what the `authcli` program is made of, without its command line: a [`Session`] that attaches a live
//! access token to every request, and the [`RefreshGate`] behind it that renews the tokens for all who need them.
//!
//! # What it guarantees
//!
//! 1. **One refresh for each token that ends**, however many requests, tasks and processes meet at its end; all of them
//!    get the new one.
//! 2. **A refused request is sent again once**, with a newer token and never with the same one. What is refused again, or
//!    refused though the token is fresh, is the final answer.
//! 3. **No refresh is cut off.** It runs in a task of its own: dropping a request, a timeout or a panic elsewhere leave it
//!    alone. [`RefreshGate::close`] waits for it on the way out.
//! 4. **No crash loses tokens that came.** They are saved before anybody is told of them. A refresh whose answer was lost
//!    is repeated under the same key by whoever comes next, but only where the server is known to take that for the same
//!    refresh (`safe_to_repeat` of [`Provider`](renewal::Provider)); at others a crash in that moment may cost the session.
//! 5. **A token goes to the origin that it was issued for**, and nowhere else; no log, error or `Debug` shows it.
//!
//! What each of these rests on stands at the head of [`gate`] and [`session`].
//!
//! # An example
//!
//! A program that uses the session of somebody who has run `authcli login`:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use authcli::clock::SystemClock;
//! use authcli::gate::{Clock, RefreshGate, Work};
//! use authcli::http::{ClientOptions, LazyClient, ServerUrl};
//! use authcli::profile::Configuration;
//! use authcli::renewal::Provider;
//! use authcli::session::Request;
//! use authcli::{Credential, Session};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let configuration = Configuration::load("/home/me/.config/authcli".into())?;
//! let profile = configuration.profile("default").ok_or("no such profile")?;
//! let (Some(id), Some(store)) = (&profile.credential, profile.store) else { return Err("not logged in".into()) };
//!
//! let credential = Credential::open(configuration.directory(), id, store);
//! let tokens = credential.load().await?.ok_or("not logged in")?;
//! let server = ServerUrl::from_stored(&tokens.server)?;
//! let client = LazyClient::new(server.clone(), ClientOptions::default());
//! let clock: Arc<dyn Clock> = Arc::new(SystemClock);
//! let api = profile.api.clone().unwrap_or_default();
//! let renewal = Arc::new(Provider::of(&tokens, &api, &server, false, client.clone(), Arc::clone(&clock)));
//! let gate = RefreshGate::new(tokens, credential.ports(renewal, clock), Work::Long);
//! let session = Session::new(gate, client, server, api.attachment());
//!
//! // From here on, nobody needs to think of tokens.
//! let url = session.server().join("/protected")?;
//! let mut answer = session.send(&Request::new(reqwest::Method::GET, url)).await?;
//! while let Some(chunk) = answer.chunk().await? {
//!     println!("{} bytes", chunk.len());
//! }
//! session.gate().close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/worker.rs` is a whole program of this kind. [`load`] sends many requests at a time.
//!
//! # How the parts fit
//!
//! A [`Credential`] is one login in a [`store`] with a [`lock`] beside it. [`RefreshGate`] is made from its
//! tokens and its ports; [`Session`] from the gate, an HTTP client and a [`ServerUrl`](http::ServerUrl).
//!
//! The library reads no home directory and no terminal, and prints nothing. Of the environment it reads the proxies alone (`HTTPS_PROXY`
//! and the like), as its HTTP client does.

pub mod attachment;
pub mod claims;
pub mod clock;
pub mod credential;
pub mod error;
pub mod expiry;
pub mod gate;
pub mod http;
pub mod load;
pub mod lock;
mod private_fs;
pub mod profile;
#[cfg(feature = "proxy")]
pub mod proxy;
pub mod renewal;
pub mod session;
pub mod store;
pub mod text;
pub mod token;
mod worker;

pub use attachment::Attachment;
pub use credential::Credential;
pub use gate::RefreshGate;
pub use session::Session;
