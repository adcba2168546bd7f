//! How an access token is attached to a request, and which answers refuse it.
//!
//! APIs differ in both; most do as the default does: `Authorization: Bearer …` (RFC 6750 section 2.1), refused with 401
//! or 403.

use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue, InvalidHeaderValue};

use crate::token::Secret;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The header that carries the token.
    pub header: HeaderName,
    /// What stands before the token there.
    pub prefix: String,
    /// The statuses that say that the token is not good (any more).
    pub refused_by: Vec<StatusCode>,
}

impl Default for Attachment {
    fn default() -> Self {
        Self {
            header: AUTHORIZATION,
            prefix: "Bearer ".into(),
            refused_by: vec![StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN],
        }
    }
}

impl Attachment {
    /// Returns the header's value for `token`, marked so that no logger shows it.
    pub fn value(&self, token: &Secret) -> Result<HeaderValue, InvalidHeaderValue> {
        let mut value = HeaderValue::try_from(self.text(token))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Returns whether `value` is the header's value for `token`.
    pub(crate) fn is_value_of(&self, value: &HeaderValue, token: &Secret) -> bool {
        value.as_bytes().strip_prefix(self.prefix.as_bytes()) == Some(token.expose().as_bytes())
    }

    /// Returns the header's name as people write it.
    pub fn header_name(&self) -> &str {
        if self.header == AUTHORIZATION { "Authorization" } else { self.header.as_str() }
    }

    /// Returns the header as one line, token and all: for a reader that was asked for it.
    pub fn line(&self, token: &Secret) -> String {
        format!("{}: {}", self.header_name(), self.text(token))
    }

    /// Returns whether an answer of this status refuses the token.
    pub fn is_refused_by(&self, status: StatusCode) -> bool {
        self.refused_by.contains(&status)
    }

    fn text(&self, token: &Secret) -> String {
        format!("{}{}", self.prefix, token.expose())
    }
}
