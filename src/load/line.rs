//! A request as a line of text.

use std::collections::BTreeMap;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::http::{AddressError, BadMethod, ServerUrl, parse_method};
use crate::session::Request;

/// What a line asks for.
#[derive(Clone, Debug)]
pub struct LineRequest {
    /// The method; GET, or POST where a body is given in a JSON object, unless the line names one.
    pub method: Method,
    /// The path, as it stands in the line.
    pub path: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Option<Bytes>,
}

/// Why a line is no request. It never holds a value of a header or body, which may be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadLine(String);

impl BadLine {
    /// A line that is refused for a reason of the caller's.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl From<AddressError> for BadLine {
    fn from(error: AddressError) -> Self {
        Self(error.to_string())
    }
}

impl From<BadMethod> for BadLine {
    fn from(error: BadMethod) -> Self {
        match error {
            BadMethod::Malformed => Self::new("its method is none"),
            BadMethod::Unfit => Self(error.to_string()),
        }
    }
}

/// A line that is a JSON object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object<'a> {
    method: Option<String>,
    path: String,
    #[serde(default)]
    query: BTreeMap<String, Text>,
    #[serde(default)]
    headers: BTreeMap<String, Text>,
    #[serde(borrow, default, deserialize_with = "present")]
    json: Option<&'a RawValue>,
    body: Option<String>,
}

/// A string, or what has an obvious one.
struct Text(String);

impl LineRequest {
    /// Reads `PATH`, `METHOD PATH`, `METHOD PATH JSON`, or a JSON object with the fields `path`, `method`, `query`,
    /// `headers`, and `json` or `body`. A line of nothing but white space is no request.
    pub fn parse(line: &str) -> Result<Option<Self>, BadLine> {
        let line = line.trim();
        if line.starts_with('{') {
            return Self::from_object(line).map(Some);
        }
        let (first, rest) = split_word(line);
        let (second, json) = split_word(rest);
        if first.is_empty() {
            return Ok(None);
        }
        let mut request = if second.is_empty() {
            Self::of(Method::GET, first)
        } else {
            let method = parse_method(first).map_err(|bad| match bad {
                BadMethod::Malformed => BadLine::new("it is neither `PATH`, `METHOD PATH`, `METHOD PATH JSON` nor a JSON object; a blank in a path is %20"),
                BadMethod::Unfit => bad.into(),
            })?;
            Self::of(method, second)
        };
        if !json.is_empty() {
            let json: &RawValue = serde_json::from_str(json).map_err(|error| {
                BadLine(format!("what stands after the path is not JSON (column {} of it)", error.column()))
            })?;
            request.set_json(json);
        }
        Ok(Some(request))
    }

    fn of(method: Method, path: &str) -> Self {
        Self { method, path: path.to_owned(), query: Vec::new(), headers: HeaderMap::new(), body: None }
    }

    fn from_object(line: &str) -> Result<Self, BadLine> {
        let object: Object<'_> = serde_json::from_str(line).map_err(|error| describe(&error))?;
        let has_body = object.json.is_some() || object.body.is_some();
        let method = match &object.method {
            Some(name) => parse_method(name)?,
            None if has_body => Method::POST,
            None => Method::GET,
        };
        let mut request = Self::of(method, &object.path);
        for (name, value) in object.headers {
            request.set_header(&name, &value.0)?;
        }
        request.query = object.query.into_iter().map(|(name, value)| (name, value.0)).collect();
        match (object.json, object.body) {
            (Some(_), Some(_)) => return Err(BadLine::new("it has both `json` and `body`")),
            (Some(json), None) => request.set_json(json),
            (None, Some(text)) => request.body = Some(text.into()),
            (None, None) => {}
        }
        Ok(request)
    }

    fn set_header(&mut self, name: &str, value: &str) -> Result<(), BadLine> {
        let name = HeaderName::try_from(name)
            .map_err(|_| BadLine::new("a header's name holds characters that no header name may hold"))?;
        if name == AUTHORIZATION {
            return Err(BadLine::new("`Authorization` is set by authcli"));
        }
        if [CONTENT_LENGTH, TRANSFER_ENCODING].contains(&name) {
            return Err(BadLine(format!("header `{name}` is set by authcli, from the body")));
        }
        let value = HeaderValue::try_from(value)
            .map_err(|_| BadLine(format!("the value of header `{name}` holds characters that no header may hold")))?;
        self.headers.insert(name, value);
        Ok(())
    }

    fn set_json(&mut self, json: &RawValue) {
        self.headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        self.body = Some(Bytes::copy_from_slice(json.get().as_bytes()));
    }

    /// Returns the request to `server`. What the line says of headers goes before what `common` says, which all lines
    /// share.
    pub fn to_request(&self, server: &ServerUrl, common: &Request) -> Result<Request, BadLine> {
        let mut request = Request { method: self.method.clone(), url: server.join(&self.path)?, ..common.clone() };
        if let Some(query) = common.url.query() {
            let own = request.url.query().map(|own| format!("{own}&")).unwrap_or_default();
            request.url.set_query(Some(&format!("{own}{query}")));
        }
        if !self.query.is_empty() {
            request.url.query_pairs_mut().extend_pairs(&self.query);
        }
        for (name, value) in &self.headers {
            request.headers.insert(name.clone(), value.clone());
        }
        if let Some(body) = &self.body {
            request.body = body.clone().into();
        }
        Ok(request)
    }
}

/// Splits at the first white space.
fn split_word(text: &str) -> (&str, &str) {
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim_start()),
        None => (text, ""),
    }
}

/// A field that is there, `null` or not: for JSON that is a value like others.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Says what is wrong with an object, without the values that serde would show.
fn describe(error: &serde_json::Error) -> BadLine {
    let column = error.column();
    if !error.is_data() {
        return BadLine(format!("it begins like a JSON object and is none (column {column})"));
    }
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    if ["unknown field", "missing field", "duplicate field"].iter().any(|known| message.starts_with(known)) {
        return BadLine(message.to_owned());
    }
    let expected = message.rsplit_once("expected ").map_or("something else", |(_, expected)| expected);
    // In JSON, that is.
    let expected = expected.replace("a map", "an object");
    BadLine(format!("a field holds what it may not: expected {expected} (column {column})"))
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = <&RawValue>::deserialize(deserializer)?.get();
        let refused = || serde::de::Error::custom("expected a string, a number, true or false");
        match value.as_bytes().first() {
            Some(b'"') => serde_json::from_str(value).map(Self).map_err(|_| refused()),
            // As it is typed: a number of this machine might hold fewer digits.
            Some(b't' | b'f' | b'-' | b'0'..=b'9') => Ok(Self(value.to_owned())),
            _ => Err(refused()),
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn parsed(line: &str) -> Request {
        let server = ServerUrl::parse("https://h/v1").unwrap();
        let line = LineRequest::parse(line).unwrap().unwrap();
        let mut common = Request::new(Method::GET, "https://h/".parse().unwrap());
        common.headers.insert("x-common", HeaderValue::from_static("1"));
        line.to_request(&server, &common).unwrap()
    }

    #[test]
    fn all_forms_of_a_line() {
        for (line, method, url, body) in [
            ("/users", "GET", "https://h/v1/users", None),
            ("  users?i=1\r", "GET", "https://h/v1/users?i=1", None),
            ("DELETE /users/7", "DELETE", "https://h/v1/users/7", None),
            ("post\t/users {\"a\": [1, 2]} ", "POST", "https://h/v1/users", Some("{\"a\": [1, 2]}")),
            ("PUT /x \"text\"", "PUT", "https://h/v1/x", Some("\"text\"")),
            (r#"{"path":"/x"}"#, "GET", "https://h/v1/x", None),
            (r#"{"path":"/x","json":{"n":1.10}}"#, "POST", "https://h/v1/x", Some("{\"n\":1.10}")),
            (r#"{"path":"/x","json":null}"#, "POST", "https://h/v1/x", Some("null")),
            (r#"{"method":"patch","path":"/x","body":"a=b"}"#, "PATCH", "https://h/v1/x", Some("a=b")),
            // Digits stay as they are typed, be they more than a number of this machine holds.
            (
                r#"{"path":"/x","query":{"a":123456789012345678901234,"b":1.10,"c":-1e3,"d":"\u0041"}}"#,
                "GET",
                "https://h/v1/x?a=123456789012345678901234&b=1.10&c=-1e3&d=A",
                None,
            ),
            (
                r#"{"path":"/x?a=1","query":{"b":"c&d","n":2,"t":true}}"#,
                "GET",
                "https://h/v1/x?a=1&b=c%26d&n=2&t=true",
                None,
            ),
        ] {
            let request = parsed(line);
            assert_eq!((request.method.as_str(), request.url.as_str()), (method, url), "{line}");
            assert_eq!(request.body.length(), Some(body.map_or(0, str::len) as u64), "{line}");
            assert_eq!(request.headers["x-common"], "1");
        }
    }

    #[test]
    fn a_lines_headers_go_before_the_common_ones_and_json_says_what_it_is() {
        let request = parsed(r#"{"path":"/x","headers":{"X-Common":2,"X-Own":"o"},"json":[]}"#);
        assert_eq!(request.headers.get_all("x-common").iter().collect::<Vec<_>>(), ["2"]);
        assert_eq!(
            (&request.headers["x-own"], &request.headers[CONTENT_TYPE]),
            (&"o".parse().unwrap(), &"application/json".parse().unwrap())
        );
        let request = parsed(r#"{"path":"/x","headers":{"content-type":"application/vnd.x+json"},"json":[]}"#);
        assert_eq!(request.headers[CONTENT_TYPE], "application/vnd.x+json");
    }

    #[test]
    fn a_blank_line_is_no_request() {
        for line in ["", " ", "\t\r"] {
            assert!(LineRequest::parse(line).unwrap().is_none());
        }
    }

    #[test]
    fn bad_lines_say_why_and_show_no_value() {
        let mut told = String::new();
        for line in [
            "/a canary",
            "GET /a {\"canary\"",
            "GET /a /canary",
            "{\"path\":\"/a\",\"canary",
            "{}",
            "{\"path\":1}",
            "{\"path\":\"/a\",\"bodyy\":\"canary\"}",
            "{\"path\":\"/a\",\"headers\":\"canary\"}",
            "{\"path\":\"/a\",\"headers\":{\"a\":[\"canary\"]}}",
            "{\"path\":\"/a\",\"headers\":{\"a\":\"can\\nary\"}}",
            "{\"path\":\"/a\",\"headers\":{\"Authorization\":\"canary\"}}",
            "{\"path\":\"/a\",\"headers\":{\"Content-Length\":\"canary\"}}",
            "{\"path\":\"/a\",\"json\":1,\"body\":\"canary\"}",
            "{\"path\":\"/a\",\"method\":\"G T\"}",
            "{\"path\":\"/a\",\"method\":\"Trace\"}",
            "CONNECT /canary",
        ] {
            let error = LineRequest::parse(line).unwrap_err().to_string();
            assert!(!error.contains("canary") && !error.contains("can\n"), "{line}: {error}");
            told.push_str(&error);
            told.push('\n');
        }
        assert_snapshot!(told, @"
        it is neither `PATH`, `METHOD PATH`, `METHOD PATH JSON` nor a JSON object; a blank in a path is %20
        what stands after the path is not JSON (column 9 of it)
        what stands after the path is not JSON (column 1 of it)
        it begins like a JSON object and is none (column 20)
        missing field `path`
        a field holds what it may not: expected a string (column 9)
        unknown field `bodyy`, expected one of `method`, `path`, `query`, `headers`, `json`, `body`
        a field holds what it may not: expected an object (column 31)
        a field holds what it may not: expected a string, a number, true or false (column 39)
        the value of header `a` holds characters that no header may hold
        `Authorization` is set by authcli
        header `content-length` is set by authcli, from the body
        it has both `json` and `body`
        its method is none
        TRACE and CONNECT are never sent with a token
        TRACE and CONNECT are never sent with a token
        ");
    }
}
