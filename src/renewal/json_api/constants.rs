//! Fields and headers that are the same in every call.
//!
//! They may be secrets (keys of an API, of a client): their values are in no `Debug` and no error.

use std::collections::BTreeMap;
use std::fmt;

use reqwest::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::place::Field;

/// Fields that are the same in every call. Their values may be secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ConstantFields(pub(super) BTreeMap<Field, Value>);

/// Headers that are the same in every call. Their values may be secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ConstantHeaders(pub(super) Vec<(HeaderName, HeaderValue)>);

impl ConstantFields {
    /// Returns the texts among the values, however deep they lie.
    pub(super) fn texts(&self) -> Vec<&str> {
        fn collect<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
            match value {
                Value::String(text) => texts.push(text),
                Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
                Value::Object(fields) => fields.values().for_each(|field| collect(field, texts)),
                Value::Null | Value::Bool(_) | Value::Number(_) => {}
            }
        }
        let mut texts = Vec::new();
        self.0.values().for_each(|value| collect(value, &mut texts));
        texts
    }
}

impl fmt::Debug for ConstantFields {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

impl fmt::Debug for ConstantHeaders {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl<'de> Deserialize<'de> for ConstantFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer).map(Self)
    }
}

/// Headers that are not a profile's to set: they belong to the connection, or tell one attempt from another.
const OURS: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

impl<'de> Deserialize<'de> for ConstantHeaders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let headers = BTreeMap::<String, String>::deserialize(deserializer)?;
        let constants = headers.into_iter().map(|(name, value)| {
            let name = constant_header(&name).map_err(de::Error::custom)?;
            // The value is never repeated: it may be a secret.
            let mut value = HeaderValue::try_from(value)
                .map_err(|_| de::Error::custom(format!("the value of header `{name}` cannot stand in a header")))?;
            value.set_sensitive(true);
            Ok((name, value))
        });
        Ok(Self(constants.collect::<Result<_, _>>()?))
    }
}

/// Returns the name of a header that a profile may set.
pub(crate) fn constant_header(name: &str) -> Result<HeaderName, String> {
    let header: HeaderName = name.parse().map_err(|_| format!("`{name}` is no name of a header"))?;
    if OURS.contains(&header.as_str()) {
        return Err(format!("`{header}` is set by authcli"));
    }
    Ok(header)
}
