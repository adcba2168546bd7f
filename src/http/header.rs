//! Headers that people choose.

use reqwest::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};

/// A header cannot be sent. The message never holds its value, which may be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    /// No name can be so.
    #[error("a header's name holds characters that no header name may hold")]
    Name,
    /// No value can be so.
    #[error("the value of header `{0}` holds characters that no header may hold")]
    Value(HeaderName),
    /// It tells a body's length, which is not the caller's to tell: a server that counts otherwise would take a part of the
    /// body for another request.
    #[error("header `{0}` is set by authcli, from the body")]
    Length(HeaderName),
}

/// Reads a header that goes beside those that authcli sets.
pub fn parse_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), BadHeader> {
    let name = HeaderName::try_from(name).map_err(|_| BadHeader::Name)?;
    if [CONTENT_LENGTH, TRANSFER_ENCODING].contains(&name) {
        return Err(BadHeader::Length(name));
    }
    match HeaderValue::try_from(value) {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(BadHeader::Value(name)),
    }
}
