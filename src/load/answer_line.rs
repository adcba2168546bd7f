//! What came of a request, as a line of JSON.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Completed, Kept, milliseconds};

/// A line of `batch`'s output.
///
/// The body of an answer that calls itself JSON, and is, stands in it as it came, numbers and the order of names
/// untouched; other text is a string, no body is `null`, and what is no text is `null` beside `body_base64`.
#[derive(Debug, Serialize)]
pub struct AnswerLine<'a> {
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    elapsed_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Body<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Body<'a> {
    None(()),
    Text(&'a str),
    Json(&'a RawValue),
}

impl<'a> AnswerLine<'a> {
    /// The line of a request that was answered; `too_long` is what is said of a body that was not kept.
    pub fn answered(
        line: u64,
        method: &'a str,
        path: &'a str,
        elapsed: Duration,
        completed: &'a Completed,
        too_long: &'a str,
    ) -> Self {
        let mut body_base64 = None;
        let mut error = None;
        let body = match &completed.body {
            Kept::TooLong => {
                error = Some(too_long);
                Body::None(())
            }
            Kept::Whole(bytes) if bytes.is_empty() => Body::None(()),
            Kept::Whole(bytes) => match (json(bytes, completed.content_type.as_ref()), std::str::from_utf8(bytes)) {
                (Some(json), _) => Body::Json(json),
                (None, Ok(text)) => Body::Text(text),
                (None, Err(_)) => {
                    body_base64 = Some(STANDARD.encode(bytes));
                    Body::None(())
                }
            },
        };
        Self {
            line,
            method: Some(method),
            path: Some(path),
            status: Some(completed.status.as_u16()),
            elapsed_ms: Some(milliseconds(elapsed)),
            body: Some(body),
            body_base64,
            error,
        }
    }

    /// The line of a request without an answer.
    pub fn failed(line: u64, method: &'a str, path: &'a str, elapsed: Duration, error: &'a str) -> Self {
        let elapsed_ms = Some(milliseconds(elapsed));
        Self { method: Some(method), path: Some(path), elapsed_ms, ..Self::bad(line, error) }
    }

    /// The line of a line that is no request.
    pub fn bad(line: u64, error: &'a str) -> Self {
        let error = Some(error);
        Self { line, method: None, path: None, status: None, elapsed_ms: None, body: None, body_base64: None, error }
    }

    /// Returns it as text that ends in its only line break.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        // Writing to memory cannot fail, and neither can these fields.
        if serde_json::to_writer(&mut bytes, self).is_err() {
            bytes.clear();
        }
        // Within strings of JSON line breaks are escaped, so whatever there is stands between its parts.
        bytes.retain(|byte| !matches!(byte, b'\n' | b'\r'));
        bytes.push(b'\n');
        bytes
    }
}

fn json<'a>(bytes: &'a [u8], content_type: Option<&HeaderValue>) -> Option<&'a RawValue> {
    let essence = content_type?.to_str().ok()?.split(';').next()?.trim();
    let subtype = essence.split_once('/')?.1;
    let is_json = subtype.eq_ignore_ascii_case("json")
        || subtype.len() > 5 && subtype.get(subtype.len() - 5..).is_some_and(|end| end.eq_ignore_ascii_case("+json"));
    if is_json { serde_json::from_slice(bytes).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::StatusCode;

    use super::*;
    use crate::token::Generation;

    fn line(body: &'static [u8], content_type: Option<&'static str>) -> String {
        let completed = Completed {
            status: StatusCode::OK,
            retried: false,
            generation: Generation::FIRST,
            refusal: None,
            content_type: content_type.map(HeaderValue::from_static),
            body: Kept::Whole(Bytes::from_static(body)),
        };
        let line = AnswerLine::answered(7, "GET", "/x?a=\"b\"", Duration::from_micros(1_500), &completed, "");
        let text = String::from_utf8(line.to_bytes()).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        let rest = text.strip_prefix(r#"{"line":7,"method":"GET","path":"/x?a=\"b\"","status":200,"elapsed_ms":1.5,"#);
        rest.unwrap_or_else(|| panic!("{text}")).strip_suffix("}\n").unwrap().to_owned()
    }

    #[test]
    fn a_body_is_what_jq_can_work_with() {
        let json = Some("application/json; charset=utf-8");
        for (body, content_type, expected) in [
            (
                b"{\"b\":1,\"a\":12345678901234567890.10}".as_slice(),
                json,
                r#""body":{"b":1,"a":12345678901234567890.10}"#,
            ),
            (b"{\r\n  \"a\": \"x\\ny\"\n}\n", Some("application/problem+JSON"), r#""body":{  "a": "x\ny"}"#),
            (b"{\"a\":1}", Some("text/plain"), r#""body":"{\"a\":1}""#),
            (b"{\"a\":1}", None, r#""body":"{\"a\":1}""#),
            (b"<html>\n", json, r#""body":"<html>\n""#),
            (b"", json, r#""body":null"#),
            (b"\xff\x00", Some("image/png"), r#""body":null,"body_base64":"/wA=""#),
            (b"\"\xff\"", json, r#""body":null,"body_base64":"Iv8i""#),
        ] {
            assert_eq!(line(body, content_type), expected);
        }
    }

    #[test]
    fn what_has_no_answer_says_why() {
        let text = |line: AnswerLine<'_>| String::from_utf8(line.to_bytes()).unwrap();
        let failed = AnswerLine::failed(1, "GET", "/", Duration::from_millis(2), "no answer");
        assert_eq!(
            text(failed),
            "{\"line\":1,\"method\":\"GET\",\"path\":\"/\",\"elapsed_ms\":2.0,\"error\":\"no answer\"}\n"
        );
        assert_eq!(text(AnswerLine::bad(3, "no request")), "{\"line\":3,\"error\":\"no request\"}\n");
    }
}
