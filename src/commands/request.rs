//! From typed options to a request.

use authcli::http::{Challenge, parse_header};
use authcli::session::{Answer, FinalRefusal, Request};
use authcli::{Attachment, Session};
use reqwest::Method;
use reqwest::header::HeaderMap;

use super::payload::{pair, payload};
use crate::cli::RequestArgs;
use crate::outcome::Usage;

/// Returns the request that `args` describe, with a body of `json` if there is one.
pub(crate) async fn request(
    session: &Session,
    method: Method,
    path: &str,
    args: &RequestArgs,
    json: Option<&str>,
) -> anyhow::Result<Request> {
    let mut url = session.server().join(path)?;
    for typed in &args.query {
        let (name, value) = pair(typed, "--query")?;
        url.query_pairs_mut().append_pair(name, value);
    }
    let mut headers = headers(&args.headers, session.attachment())?;
    let body = payload(args, json, &mut headers).await?;
    Ok(Request { method, url, headers, body, timeout: args.timeout })
}

fn headers(lines: &[String], attachment: &Attachment) -> Result<HeaderMap, Usage> {
    let mut headers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        // Only the name is ever repeated in a message: the value may be a secret.
        let Some((name, value)) = line.split_once(':') else {
            return Err(Usage::new("a header must read `Name: value`"));
        };
        let (name, value) = parse_header(name.trim(), value.trim()).map_err(|error| Usage::new(error.to_string()))?;
        if name == attachment.header {
            return Err(Usage::with_hint(
                format!("`{}` is set by authcli", attachment.header_name()),
                "to call an API with a header of your own, use another program",
            ));
        }
        headers.append(name, value);
    }
    Ok(headers)
}

/// Returns what a person can make of a refusal that another refresh would not mend.
pub(crate) fn hint(refusal: FinalRefusal) -> &'static str {
    match refusal {
        FinalRefusal::FreshToken => "refused with a token refreshed just now; the account may lack the right",
        FinalRefusal::NotRenewable => "the server gave no refresh token; if the token was revoked, only a login helps",
        FinalRefusal::NotYetRenewable => "the refresh token is not good yet, so no newer token could be tried",
        FinalRefusal::InsufficientScope => "the server says that the token lacks a scope",
        FinalRefusal::BodySpent => {
            "the token was replaced since, but a body that long is kept nowhere to be sent again; run the command once more"
        }
    }
}

/// Returns what the server says of a token that it refused, as a cause, and what a person can make of that.
pub(crate) fn why_refused(answer: &Answer) -> (Option<String>, Option<&'static str>) {
    let words = answer.challenge.as_ref().map(|challenge| format!("the server says: {challenge}"));
    let is_invalid = answer.challenge.as_ref().is_some_and(Challenge::is_invalid_token);
    let hint = match answer.refusal {
        // Then it is not the right that is lacking.
        Some(FinalRefusal::FreshToken) if is_invalid => Some(
            "refused with a token refreshed just now; this server may not be the one that it is for: \
             `authcli status --claims` shows whom it names",
        ),
        refusal => refusal.map(hint),
    };
    (words, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_people_type_them() {
        let read = headers(
            &["Accept:application/json".into(), "X-Empty:".into(), "X-A: 1".into(), "x-a: 2:3".into()],
            &Attachment::default(),
        );
        let read = read.unwrap();
        assert_eq!(read["accept"], "application/json");
        assert_eq!(read["x-empty"], "");
        assert_eq!(read.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2:3"]);
    }

    #[test]
    fn bad_headers_are_refused_without_showing_their_value() {
        for line in ["canary", "Bad Name: canary", ": canary", "X: can\nary", "authorization: Bearer canary"] {
            let message = headers(&[line.into()], &Attachment::default()).unwrap_err().to_string();
            assert!(!message.contains("canary"), "{message}");
        }
    }
}
