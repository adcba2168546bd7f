//! The `Authorization` header of a protected call.

use super::access_token::MAX_ACCESS_TOKEN_BYTES;

/// What the `Authorization` headers of a request hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials<'a> {
    /// No header, or one without a word in it.
    Missing,
    /// Something that cannot be a bearer token of ours.
    Unusable,
    /// `Bearer` and one word.
    Bearer(&'a str),
}

/// Reads the values of all `Authorization` headers of a request
/// ([RFC 6750 section 2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)).
///
/// The scheme is compared without regard to case; two headers are refused, since nobody can tell which of them counts.
pub fn parse_authorization<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Credentials<'a> {
    let mut values = values.into_iter();
    let Some(value) = values.next() else {
        return Credentials::Missing;
    };
    if values.next().is_some() {
        return Credentials::Unusable;
    }
    let value = value.trim_ascii();
    if value.is_empty() {
        return Credentials::Missing;
    }
    let Ok(value) = std::str::from_utf8(value) else {
        return Credentials::Unusable;
    };
    let Some((scheme, token)) = value.split_once(' ') else {
        return Credentials::Unusable;
    };
    let token = token.trim_start_matches(' ');
    // Not `all`: it stops early, and so looks at one letter at a time. This is done at every protected call.
    let is_word = || token.bytes().fold(true, |so_far, byte| so_far & byte.is_ascii_graphic());
    let is_token = !token.is_empty() && token.len() <= MAX_ACCESS_TOKEN_BYTES && is_word();
    if scheme.eq_ignore_ascii_case("bearer") && is_token { Credentials::Bearer(token) } else { Credentials::Unusable }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(value: &str) -> Credentials<'_> {
        parse_authorization([value.as_bytes()])
    }

    #[test]
    fn absent_and_empty_are_missing() {
        assert_eq!(parse_authorization([]), Credentials::Missing);
        assert_eq!(parse(""), Credentials::Missing);
        assert_eq!(parse("  "), Credentials::Missing);
    }

    #[test]
    fn the_scheme_has_any_case() {
        assert_eq!(parse("Bearer abc"), Credentials::Bearer("abc"));
        assert_eq!(parse("bEARER  abc"), Credentials::Bearer("abc"));
    }

    #[test]
    fn everything_else_is_unusable() {
        let long = format!("Bearer {}", "a".repeat(MAX_ACCESS_TOKEN_BYTES + 1));
        for value in ["Bearer", "Bearer ", "abc", "Basic YTpi", "Bearer a b", "Bearer\tabc", &long] {
            assert_eq!(parse(value), Credentials::Unusable, "{value}");
        }
        assert_eq!(parse_authorization([&b"Bearer \xff"[..]]), Credentials::Unusable);
        assert_eq!(parse_authorization([&b"Bearer a"[..], b"Bearer a"]), Credentials::Unusable);
    }

    proptest! {
        #[test]
        fn of_printable_letters_two_words_are_a_bearer(value in "(?i:bearer) *[ -~]{0,40}") {
            let words: Vec<&str> = value.split(' ').filter(|word| !word.is_empty()).collect();
            let expected = match words.as_slice() {
                [scheme, token] if scheme.eq_ignore_ascii_case("bearer") => Credentials::Bearer(token),
                _ => Credentials::Unusable,
            };
            prop_assert_eq!(parse(&value), expected);
            prop_assert_eq!(parse_authorization([value.as_bytes(), b""]), Credentials::Unusable);
        }

        #[test]
        fn a_bearer_is_one_visible_word_of_the_header(value: Vec<u8>) {
            if let Credentials::Bearer(token) = parse_authorization([value.as_slice()]) {
                prop_assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(value.trim_ascii().ends_with(token.as_bytes()));
            }
        }
    }
}
