//! How tokens are obtained, renewed and revoked.

mod answer;
mod fault;
mod json_api;

pub use self::fault::RenewalFault;
pub use self::json_api::{JsonApi, LoginError};
