//! Methods of requests that carry a token.

use reqwest::Method;

/// Why a text is no method to send a token with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMethod {
    /// It is no method.
    #[error("expected a method such as GET, POST or DELETE")]
    Malformed,
    /// TRACE, whose answer shows the request with its token (RFC 9110 section 9.3.8), or CONNECT, which asks a proxy for
    /// a tunnel (section 9.3.6).
    #[error("TRACE and CONNECT are never sent with a token")]
    Unfit,
}

/// Reads a method, which people type as they like; methods are written in capitals.
pub fn parse_method(text: &str) -> Result<Method, BadMethod> {
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
        return Err(BadMethod::Malformed);
    }
    match text.to_ascii_uppercase().parse().map_err(|_| BadMethod::Malformed)? {
        Method::TRACE | Method::CONNECT => Err(BadMethod::Unfit),
        method => Ok(method),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_read_in_any_case_and_no_token_goes_where_it_is_shown() {
        for (text, expected) in [
            ("get", Ok(Method::GET)),
            ("PATCH", Ok(Method::PATCH)),
            ("m-search", Ok(Method::from_bytes(b"M-SEARCH").unwrap())),
            ("", Err(BadMethod::Malformed)),
            ("G T", Err(BadMethod::Malformed)),
            ("/users", Err(BadMethod::Malformed)),
            ("TRACE", Err(BadMethod::Unfit)),
            ("Trace", Err(BadMethod::Unfit)),
            ("connect", Err(BadMethod::Unfit)),
        ] {
            assert_eq!(parse_method(text), expected, "{text}");
        }
    }
}
