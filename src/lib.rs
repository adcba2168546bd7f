//! Call token-protected HTTP APIs as though tokens never expired.
//!
//! This library is what the `authcli` program is made of, without its command line: a [`Session`] that attaches a live
//! access token to every request, and the [`RefreshGate`] behind it that renews the tokens once for all requests, tasks
//! and processes that need it. What the gate guarantees stands at the head of its module, [`gate`].
//!
//! # How the parts fit
//!
//! A [`Credential`] is one login in a [`store`] with a [`lock`] beside it. [`RefreshGate`] is made from its
//! tokens and its ports; [`Session`] from the gate, an HTTP client and a [`ServerUrl`](http::ServerUrl).
//!
//! The library reads no environment, no home directory and no terminal, and prints nothing.

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
pub mod token;
mod worker;

pub use attachment::Attachment;
pub use credential::Credential;
pub use gate::RefreshGate;
pub use session::Session;
