//! The ways to log in.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// A way to log in at an authorization server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flow {
    /// In a browser on this machine (RFC 8252).
    Browser,
    /// In a browser on any other device (RFC 8628).
    Device,
    /// As the client itself, without a person (RFC 6749 section 4.4).
    ClientCredentials,
}

impl Flow {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Browser, Self::Device, Self::ClientCredentials];

    /// Returns the flow's name, as it is typed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Device => "device",
            Self::ClientCredentials => "client-credentials",
        }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Flow {
    type Err = UnknownFlow;

    fn from_str(text: &str) -> Result<Self, UnknownFlow> {
        Self::ALL.into_iter().find(|flow| flow.name() == text).ok_or_else(|| UnknownFlow(text.to_owned()))
    }
}

/// The text names no flow.
#[derive(Clone, Debug, thiserror::Error)]
#[error("unknown flow `{0}`; there are `browser`, `device` and `client-credentials`")]
pub struct UnknownFlow(String);
