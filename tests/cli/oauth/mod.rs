//! Logging in at OAuth 2.0 and OpenID Connect servers.
//!
//! - `by_hand`: a server that the test answers by hand: what is sent, and what becomes of every kind of answer;
//! - `certified`: node-oidc-provider, a certified provider with strict rotation;
//! - `spoilt`: oauth2-mock-server, whose hooks spoil its answers.

mod by_hand;
mod certified;
mod spoilt;
