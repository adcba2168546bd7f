//! What an answer of a JSON API holds, in its shape.
//!
//! A pointer that misses is told with the names of the keys that are there, so that it can be mended; never with a value.

use std::borrow::Cow;

use reqwest::StatusCode;
use reqwest::header::SET_COOKIE;
use serde_json::Value;

use super::place::{Pointer, Source};
use super::shape::{AnswerShape, ApiShape};
use crate::renewal::answer::{Answer, words};
use crate::renewal::fault::RenewalFault;
use crate::renewal::issued;
use crate::text::printable_start;
use crate::token::{IssuedTokens, Secret};

/// Of the names of keys as many are told.
const MOST_KEYS: usize = 24;
const LONGEST_KEY: usize = 40;
const DEEPEST: usize = 5;

/// Which call an answer is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    Login,
    Refresh,
}

/// Tokens, and what was looked for beside them in vain.
pub(super) struct Reading {
    pub(super) tokens: IssuedTokens,
    /// What a profile says is there and is not, in words for people.
    pub(super) missed: Vec<String>,
}

/// Where the parts of one answer are.
struct Sources<'a> {
    own: &'a AnswerShape,
    common: &'a AnswerShape,
}

impl<'a> Sources<'a> {
    fn of(shape: &'a ApiShape, to: To) -> Self {
        let common = &shape.answer;
        Self { own: if to == To::Refresh { &shape.refresh.answer } else { common }, common }
    }

    /// Returns where `part` is, and whether the profile says so.
    fn place(&self, part: fn(&AnswerShape) -> Option<&Source>, default: &str) -> Option<(Cow<'a, Source>, bool)> {
        match part(self.own).or_else(|| part(self.common)) {
            Some(source) => Some((Cow::Borrowed(source), true)),
            None => Some((Cow::Owned(default.parse().ok()?), false)),
        }
    }
}

/// Returns the tokens in a successful answer.
pub(super) fn tokens(shape: &ApiShape, to: To, answer: &Answer) -> Result<Reading, RenewalFault> {
    let sources = Sources::of(shape, to);
    let document = Document::of(answer);
    let mut missed = Vec::new();
    let mut look = |what: &str, part: fn(&AnswerShape) -> Option<&Source>, default: &str| {
        let (place, told) = sources.place(part, default)?;
        let found = document.find(&place);
        if found.is_none() && told {
            missed.push(format!("no {what} at `{place}` ({})", document.keys()));
        }
        found.map(|found| (place, found))
    };
    let access = sources.place(|shape| shape.access_token.as_ref(), "/accessToken");
    let refresh = look("refresh token", |shape| shape.refresh_token.as_ref(), "/refreshToken");
    let expires_in = look("lifetime", |shape| shape.expires_in.as_ref(), "/expiresIn");
    let refresh_expires_in = look("lifetime", |shape| shape.refresh_expires_in.as_ref(), "/refreshExpiresIn");

    let Some((place, _)) = access else { return Err(answer.nonsense("no access token")) };
    let access_token = match document.find(&place).as_deref() {
        Some(Value::String(text)) => issued::token(text)
            .ok_or_else(|| answer.nonsense(format!("a text at `{place}` that no header can carry")))?,
        _ => return Err(answer.nonsense(document.lacks(&place))),
    };
    let refresh_token = match &refresh {
        None => None,
        Some((_, text)) if text.as_str().is_some_and(str::is_empty) => None,
        // One that cannot be used may have replaced the one before: it is not passed over.
        Some((place, text)) => Some(
            text.as_str()
                .and_then(issued::token)
                .ok_or_else(|| answer.nonsense(format!("no usable refresh token at `{place}`")))?,
        ),
    };
    let stated = |found: Option<(Cow<'_, Source>, Cow<'_, Value>)>, token: Option<&Secret>| {
        issued::lifetime(found.as_ref().map(|(_, value)| value.as_ref()), token)
    };
    Ok(Reading {
        tokens: IssuedTokens {
            access_lifetime: stated(expires_in, Some(&access_token)),
            refresh_lifetime: stated(refresh_expires_in, refresh_token.as_ref()),
            access_token,
            refresh_token,
        },
        missed,
    })
}

/// What a refusal says.
pub(super) struct Said {
    /// In words for people.
    pub(super) words: String,
    /// Whether they are the server's own.
    pub(super) is_text: bool,
    /// Whether the profile names it as an end of the session.
    pub(super) is_an_end: bool,
    /// As it stands there, where it is a text, a number or a flag: to be compared, and never shown.
    code: Option<String>,
}

impl Said {
    /// Returns whether that says no more than `status` does, as answers of gateways do: "Forbidden", 403.
    pub(super) fn repeats(&self, status: StatusCode) -> bool {
        let is = |text: &str| self.code.as_ref().is_some_and(|code| code.trim().eq_ignore_ascii_case(text));
        is(status.as_str()) || status.canonical_reason().is_some_and(is) || is(&status.to_string())
    }
}

/// Returns what an answer says where its shape has the error, if it says something there. Words that repeat one of
/// `secrets` are left out.
pub(super) fn error(shape: &ApiShape, to: To, answer: &Answer, secrets: &[&str]) -> Option<Said> {
    let place = error_place(shape, to)?;
    let document = answer.json()?;
    // A document that is no object is not an answer of such an API.
    document.as_object()?;
    let value = place.of(&document)?;
    let code = match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    let is_an_end = code.as_ref().is_some_and(|code| shape.refresh.ended_errors.contains(code));
    let otherwise = format!("answered {}", answer.status);
    // What a profile names says something, whatever it is.
    let words = words(value, secrets, &otherwise).or_else(|| is_an_end.then_some(otherwise))?;
    Some(Said { words, is_text: value.is_string(), is_an_end, code })
}

/// Returns the fault for an answer that should say something there and does not.
pub(super) fn silent(shape: &ApiShape, to: To, answer: &Answer) -> RenewalFault {
    answer.unexpected_with(|| {
        let place = error_place(shape, to).map(|place| place.to_string()).unwrap_or_default();
        let document = Document::of(answer);
        match &document.body {
            Some(Value::Object(_)) => format!("nothing at `{place}` ({})", document.keys()),
            _ => format!("no JSON object with an error at `{place}`"),
        }
    })
}

fn error_place(shape: &ApiShape, to: To) -> Option<Pointer> {
    let own = if to == To::Refresh { shape.refresh.answer.error.as_ref() } else { None };
    own.or(shape.answer.error.as_ref()).cloned().or_else(|| "/error".parse().ok())
}

/// An answer to look for things in.
struct Document<'a> {
    answer: &'a Answer,
    body: Option<Value>,
}

impl<'a> Document<'a> {
    fn of(answer: &'a Answer) -> Self {
        Self { answer, body: answer.json() }
    }

    /// Returns what stands at `place`; `null` counts as nothing.
    fn find(&self, place: &Source) -> Option<Cow<'_, Value>> {
        let text = |text: &str| Cow::Owned(Value::from(text.trim()));
        match place {
            Source::Pointer(pointer) => {
                pointer.of(self.body.as_ref()?).filter(|value| !value.is_null()).map(Cow::Borrowed)
            }
            Source::Header(name) => self.answer.headers.get(name)?.to_str().ok().map(text),
            Source::Cookie(name) => self.cookie(name).map(text),
        }
    }

    /// Returns the value of the last cookie `name` that the answer sets (RFC 6265 section 5.2).
    fn cookie(&self, name: &str) -> Option<&str> {
        let set = self.answer.headers.get_all(SET_COOKIE).iter().rev();
        set.filter_map(|cookie| cookie.to_str().ok()?.split(';').next()?.split_once('='))
            .find(|(set, _)| set.trim() == name)
            .map(|(_, value)| value.trim().trim_matches('"'))
    }

    fn lacks(&self, place: &Source) -> String {
        match (&self.body, place) {
            (None, Source::Pointer(_)) => "a body that is not JSON".into(),
            (Some(body), Source::Pointer(_)) if !body.is_object() && !body.is_array() => {
                "JSON that is not an object".into()
            }
            (_, Source::Pointer(_)) => format!("no text at `{place}` ({})", self.keys()),
            _ => format!("no `{place}`"),
        }
    }

    /// Returns the names of the answer's keys, as pointers to what lies there.
    fn keys(&self) -> String {
        let mut keys = Vec::new();
        if let Some(body) = &self.body {
            collect_keys(body, String::new(), 0, &mut keys);
        }
        let more = if keys.len() > MOST_KEYS { ", …" } else { "" };
        keys.truncate(MOST_KEYS);
        if keys.is_empty() { "it has no keys".into() } else { format!("its keys: {}{more}", keys.join(", ")) }
    }
}

fn collect_keys(value: &Value, at: String, depth: usize, keys: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(object) => object.iter().map(|(name, value)| (escaped(name), value)).collect(),
        // One item tells what the others are like.
        Value::Array(items) => items.iter().take(1).map(|item| ("0".to_owned(), item)).collect(),
        _ => Vec::new(),
    };
    if (below.is_empty() || depth == DEEPEST) && !at.is_empty() {
        keys.push(at);
        return;
    }
    for (name, value) in below {
        if keys.len() > MOST_KEYS {
            return;
        }
        collect_keys(value, format!("{at}/{name}"), depth + 1, keys);
    }
}

/// Returns `name` as it is written in a pointer, and fit for one line. A long one is cut: it may be no name at all.
fn escaped(name: &str) -> String {
    let shown = printable_start(name, LONGEST_KEY);
    let cut = if name.chars().count() > LONGEST_KEY { "…" } else { "" };
    format!("{}{cut}", shown.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::expiry::Lifetime;
    use crate::renewal::answer::tests::answer;

    fn shape(text: &str) -> ApiShape {
        toml::from_str(text).unwrap()
    }

    const NESTED: &str = "answer.access_token = '/data/tokens/access'\nanswer.refresh_token = '/data/tokens/refresh'\n\
        answer.expires_in = '/data/ttl'\nrefresh.answer.access_token = '/token'";

    #[test]
    fn tokens_are_found_where_the_profile_says() {
        let body = "{\"data\":{\"tokens\":{\"access\":\"a\",\"refresh\":\"r\"},\"ttl\":\"7\"}}";
        let read = tokens(&shape(NESTED), To::Login, &answer(200, body)).unwrap();
        assert_eq!(read.tokens.access_token.expose(), "a");
        assert_eq!(read.tokens.refresh_token.unwrap().expose(), "r");
        assert_eq!(read.tokens.access_lifetime, Lifetime::of(Duration::from_secs(7)));
        assert_eq!(read.missed, Vec::<String>::new());
        let read = tokens(&shape(NESTED), To::Refresh, &answer(200, "{\"token\":\"b\"}")).unwrap();
        assert_eq!(read.tokens.access_token.expose(), "b");
        assert!(read.tokens.refresh_token.is_none(), "the one before stays");
    }

    #[test]
    fn tokens_are_found_in_heads() {
        let shape = shape("answer.access_token = 'header:Authorization'\nanswer.refresh_token = 'cookie:jid'");
        let mut answer = answer(204, "");
        for (name, value) in [
            ("authorization", "Bearer a"),
            ("set-cookie", "jid=old; Path=/"),
            ("set-cookie", "jid=\"r\"; HttpOnly; Path=/"),
        ] {
            answer.headers.append(name, value.parse().unwrap());
        }
        let read = tokens(&shape, To::Login, &answer).unwrap();
        assert_eq!(read.tokens.access_token.expose(), "a");
        assert_eq!(read.tokens.refresh_token.unwrap().expose(), "r");
    }

    #[test]
    fn what_misses_is_told_by_keys_and_never_by_values() {
        for (body, expected) in [
            ("<html>canary</html>", "a body that is not JSON"),
            ("\"canary\"", "JSON that is not an object"),
            ("{\"token\":\"canary\"}", "no text at `/data/tokens/access` (its keys: /token)"),
            (
                "{\"data\":{\"tokens\":{\"accessToken\":\"canary\"},\"a/b\":[{\"c\":\"canary\"},\"canary\"],\"e\":{}}}",
                "(its keys: /data/a~1b/0/c, /data/e, /data/tokens/accessToken)",
            ),
            ("{\"data\":{\"tokens\":{\"access\":{\"x\":\"canary\"}}}}", "(its keys: /data/tokens/access/x)"),
            ("{\"data\":{\"tokens\":{\"access\":\"\"}}}", "no header can carry"),
            ("{\"data\":{\"tokens\":{\"access\":\"canary\\r\\nX: y\"}}}", "no header can carry"),
            (
                "{\"data\":{\"tokens\":{\"access\":\"a\",\"refresh\":7}}}",
                "no usable refresh token at `/data/tokens/refresh`",
            ),
            ("[]", "it has no keys"),
        ] {
            let error = tokens(&shape(NESTED), To::Login, &answer(200, body)).err().unwrap().to_string();
            assert!(error.contains(expected), "{body}: {error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn what_a_profile_promises_beside_the_access_token_is_missed_too() {
        let body = "{\"data\":{\"tokens\":{\"access\":\"a\",\"re\":\"canary\"}}}";
        let missed = tokens(&shape(NESTED), To::Login, &answer(200, body)).unwrap().missed.join("\n");
        assert!(
            missed.contains("no refresh token at `/data/tokens/refresh`") && missed.contains("`/data/ttl`"),
            "{missed}"
        );
        assert!(missed.contains("/data/tokens/re") && !missed.contains("canary"), "{missed}");
        let silent = tokens(&ApiShape::default(), To::Login, &answer(200, "{\"accessToken\":\"a\"}")).unwrap().missed;
        assert_eq!(silent, Vec::<String>::new(), "nobody said that it was there");
    }

    #[test]
    fn keys_that_are_long_or_many_are_cut() {
        let long = "x".repeat(500);
        let many: Vec<String> = (0..500).map(|number| format!("\"k{number:03}\":1")).collect();
        let body = format!("{{\"{long}\":1,{}}}", many.join(","));
        let error = tokens(&ApiShape::default(), To::Login, &answer(200, &body)).err().unwrap().to_string();
        assert!(error.len() < 400 && error.ends_with(", …)"), "{error}");
    }

    #[test]
    fn an_error_is_a_field_of_an_object() {
        let said =
            |body: &str| error(&ApiShape::default(), To::Refresh, &answer(403, body), &[]).map(|said| said.words);
        for body in ["[\"nope\"]", "<html>", "{\"message\":\"no\"}", "{\"error\":null}", "{\"error\":false}", ""] {
            assert_eq!(said(body), None, "{body}");
        }
        assert_eq!(said("{\"error\":\"no\"}").as_deref(), Some("no"));
        assert_eq!(said("{\"error\":{\"code\":7}}").as_deref(), Some("answered 403 Forbidden"));
        let deep = shape("answer.error = '/errors/0/detail'");
        let said = error(&deep, To::Login, &answer(403, "{\"errors\":[{\"detail\":\"no\"}]}"), &[]);
        assert_eq!(said.unwrap().words, "no");
    }
}
