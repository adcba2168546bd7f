//! A request as a line of text.

use std::collections::BTreeMap;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::attachment::Attachment;
use crate::http::{AddressError, BadHeader, BadMethod, ServerUrl, parse_header, parse_method};
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

impl From<BadHeader> for BadLine {
    fn from(error: BadHeader) -> Self {
        Self(error.to_string())
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
        let (name, value) = parse_header(name, value)?;
        self.headers.insert(name, value);
        Ok(())
    }

    fn set_json(&mut self, json: &RawValue) {
        self.headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        self.body = Some(Bytes::copy_from_slice(json.get().as_bytes()));
    }

    /// Returns the request to `server`, which gets its tokens as `attachment` says. What the line says of headers goes before
    /// what `common` says, which all lines share.
    pub fn to_request(
        &self,
        server: &ServerUrl,
        attachment: &Attachment,
        common: &Request,
    ) -> Result<Request, BadLine> {
        if self.headers.contains_key(&attachment.header) {
            return Err(BadLine(format!("`{}` is set by authcli", attachment.header_name())));
        }
        let mut request = Request {
            method: self.method.clone(),
            url: server.join(&self.path)?,
            headers: common.headers.clone(),
            body: common.body.clone(),
            timeout: common.timeout,
        };
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
mod tests;
