//! How tokens are obtained, renewed and revoked over HTTP.
//!
//! Each kind of server has a room of its own, on three things that all share: `caller` makes one call, `answer` is what
//! came back, `tries` makes of several tries one redemption. [`Provider`] is how the rest of the program uses any kind.

mod answer;
mod caller;
mod fault;
mod issued;
pub mod json_api;
pub mod oauth;
mod provider;
mod tries;

pub use self::fault::RenewalFault;
pub use self::json_api::{ApiShape, JsonApi, LoggedIn, LoginError};
pub use self::provider::{Provider, Revocation};
