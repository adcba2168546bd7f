//! Talking to a server: which addresses are allowed, and the client that keeps to it.

mod address;
pub mod body;
mod challenge;
mod header;
mod heads;
mod lazy;
mod messages;
mod method;
mod plain;
mod sending;
mod tls;
mod transport;

pub(crate) use self::address::is_loopback;
pub use self::address::{AddressError, ServerUrl};
pub(crate) use self::body::Outgoing;
pub use self::body::{Body, KEPT_IN_MEMORY, KeptBodies};
pub use self::challenge::Challenge;
pub use self::header::{BadHeader, parse_header};
pub(crate) use self::heads::{log_request, log_response, log_token_response, secrets_of};
pub use self::lazy::{LazyClient, NoClient};
pub use self::messages::messages;
pub use self::method::{BadMethod, parse_method};
pub(crate) use self::sending::Head;
pub use self::sending::TransportError;
pub use self::tls::refuses_certificate;
pub(crate) use self::transport::{CONNECT_BOUND, server_time};
pub use self::transport::{ClientOptions, NoCertificate, retry_after};
