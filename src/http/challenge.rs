//! Why a server refused a token, in its own words: the challenge of RFC 6750 section 3.

use std::fmt;

use http_auth::parser::ChallengeParser;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

use crate::text::printable_start;

/// Longer words are cut off.
const LONGEST: usize = 200;

/// What a `WWW-Authenticate` says of a token. Its texts are fit for a terminal and hold no secret of the session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// `invalid_request`, `invalid_token`, `insufficient_scope`, or another code.
    pub error: Option<String>,
    /// The same for people.
    pub description: Option<String>,
    /// What a token would need.
    pub scope: Option<String>,
}

impl Challenge {
    /// Returns what the `Bearer` challenge in `headers` says, if it says anything; nothing that holds one of `secrets`.
    pub(crate) fn of(headers: &HeaderMap, secrets: &[&str]) -> Option<Self> {
        let mut told = Self::default();
        for value in headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()) {
            // Of a value that is malformed, what was read until then counts.
            let challenges = ChallengeParser::new(value).map_while(Result::ok);
            for (name, value) in
                challenges.filter(|one| one.scheme.eq_ignore_ascii_case("Bearer")).flat_map(|one| one.params)
            {
                let place = match name.to_ascii_lowercase().as_str() {
                    "error" => &mut told.error,
                    "error_description" => &mut told.description,
                    "scope" => &mut told.scope,
                    _ => continue,
                };
                let text = value.to_unescaped();
                if !secrets.iter().any(|secret| !secret.is_empty() && text.contains(secret)) {
                    *place = Some(printable_start(&text, LONGEST)).filter(|text| !text.is_empty());
                }
            }
        }
        (told != Self::default()).then_some(told)
    }

    /// Returns whether a newer token would lack the same right.
    pub fn is_insufficient_scope(&self) -> bool {
        self.error.as_deref() == Some("insufficient_scope")
    }

    /// Returns whether the token itself was not accepted, whatever its right.
    pub fn is_invalid_token(&self) -> bool {
        self.error.as_deref() == Some("invalid_token")
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = self.scope.as_ref().map(|scope| format!("it asks for scope `{scope}`"));
        let parts = [self.error.as_ref(), self.description.as_ref(), scope.as_ref()];
        let parts: Vec<_> = parts.into_iter().flatten().map(String::as_str).collect();
        formatter.write_str(&parts.join(": "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        Challenge::of(&headers, &["canary"])
    }

    #[test]
    fn what_a_server_says_is_read_however_it_writes_it() {
        for (values, expected) in [
            (["Bearer realm=\"x\", error=\"invalid_token\""].as_slice(), Some("invalid_token")),
            (&["bearer error=invalid_token"], Some("invalid_token")),
            (&["Basic realm=\"x\", Bearer error=\"invalid_token\""], Some("invalid_token")),
            (&["Basic realm=\"x\"", "Bearer error=\"invalid_token\""], Some("invalid_token")),
            (
                &["Bearer error=\"insufficient_scope\", error_description=\"no \\\"admin\\\"\", scope=\"a b\""],
                Some("insufficient_scope: no \"admin\": it asks for scope `a b`"),
            ),
            (&["Bearer error=\"invalid_token\", error_description=\"what is canary?\""], Some("invalid_token")),
            (&["Bearer"], None),
            (&["Bearer realm=\"x\""], None),
            (&["Basic error=\"invalid_token\""], None),
            (&["Bearer error=\"\""], None),
            (&["\"\"\",,,="], None),
        ] {
            assert_eq!(challenge(values).map(|told| told.to_string()).as_deref(), expected, "{values:?}");
        }
    }

    #[test]
    fn a_scope_is_lacking_only_where_the_error_says_so() {
        let lacks = |value: &str| challenge(&[value]).is_some_and(|told| told.is_insufficient_scope());
        assert!(lacks("Bearer realm=\"x\", error=\"insufficient_scope\""));
        assert!(!lacks("Bearer error=\"invalid_token\", error_description=\"error=insufficient_scope\""));
    }
}
