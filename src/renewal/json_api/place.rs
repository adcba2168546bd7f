//! Places in requests and answers, as a profile names them.
//!
//! - A field of a body is a name (`password`), or a JSON Pointer (RFC 6901) where it lies deeper (`/user/password`).
//! - `header:NAME` and `cookie:NAME` are what they say.
//!
//! Each is checked when it is read, so that a misspelt one is found when it is set and not at the next refresh.

use std::fmt;
use std::str::FromStr;

use reqwest::header::HeaderName;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A JSON Pointer (RFC 6901).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Pointer(String);

/// A field of the body of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub enum Field {
    /// At the top.
    Name(String),
    /// Deeper.
    Pointer(Pointer),
}

/// Where something of a request goes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Target {
    /// Into the body.
    Field(Field),
    /// Into a header.
    Header(HeaderName),
    /// Into a cookie.
    Cookie(String),
}

/// Where something stands in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Source {
    /// In the body.
    Pointer(Pointer),
    /// In a header.
    Header(HeaderName),
    /// In a cookie that it sets.
    Cookie(String),
}

/// Why a text names no place; it follows the name of the setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// No pointer.
    #[error("must be a JSON Pointer (RFC 6901), such as `/data/token`: it begins with `/`")]
    NoSlash,
    /// A tilde that escapes nothing.
    #[error("must be a JSON Pointer (RFC 6901): in one, `~` is written `~0`, and `/` within a name `~1`")]
    Tilde,
    /// Nothing.
    #[error("must not be empty")]
    Empty,
    /// No name of a header.
    #[error("must name a header after `header:`")]
    Header,
    /// No name of a cookie.
    #[error("must name a cookie after `cookie:`")]
    Cookie,
}

impl FromStr for Pointer {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        if !text.is_empty() && !text.starts_with('/') {
            return Err(PlaceError::NoSlash);
        }
        if text.split('~').skip(1).any(|after| !after.starts_with(['0', '1'])) {
            return Err(PlaceError::Tilde);
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for Field {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        match text {
            "" => Err(PlaceError::Empty),
            _ if text.starts_with('/') => Ok(Self::Pointer(text.parse()?)),
            _ => Ok(Self::Name(text.to_owned())),
        }
    }
}

impl FromStr for Target {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        if let Some(name) = text.strip_prefix("header:") {
            return header(name).map(Self::Header);
        }
        match text.strip_prefix("cookie:") {
            Some(name) => cookie(name).map(Self::Cookie),
            None => text.parse().map(Self::Field),
        }
    }
}

impl FromStr for Source {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        if let Some(name) = text.strip_prefix("header:") {
            return header(name).map(Self::Header);
        }
        match text.strip_prefix("cookie:") {
            Some(name) => cookie(name).map(Self::Cookie),
            None => text.parse().map(Self::Pointer),
        }
    }
}

macro_rules! read_from_text {
    ($($place:ty),*) => {$(
        impl TryFrom<String> for $place {
            type Error = PlaceError;

            fn try_from(text: String) -> Result<Self, PlaceError> {
                text.parse()
            }
        }
    )*};
}
read_from_text!(Pointer, Field, Target, Source);

fn header(name: &str) -> Result<HeaderName, PlaceError> {
    name.trim().parse().map_err(|_| PlaceError::Header)
}

/// A cookie's name is a token (RFC 6265 section 4.1.1), as a header's is.
fn cookie(name: &str) -> Result<String, PlaceError> {
    let name = name.trim();
    HeaderName::try_from(name).map(|_| name.to_owned()).map_err(|_| PlaceError::Cookie)
}

impl fmt::Display for Pointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Pointer(pointer) => pointer.fmt(formatter),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pointer(pointer) => pointer.fmt(formatter),
            Self::Header(name) => write!(formatter, "header:{name}"),
            Self::Cookie(name) => write!(formatter, "cookie:{name}"),
        }
    }
}

impl Pointer {
    /// Returns what stands there in `document`.
    pub(super) fn of<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        document.pointer(&self.0)
    }

    fn names(&self) -> impl Iterator<Item = String> {
        self.0.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~"))
    }
}

impl Field {
    /// Puts `value` there; what lies above is made. Returns whether the place was free.
    pub(super) fn put(&self, body: &mut Map<String, Value>, value: Value) -> bool {
        let path = match self {
            Self::Name(name) => vec![name.clone()],
            Self::Pointer(pointer) => pointer.names().collect(),
        };
        let Some((last, above)) = path.split_last() else { return false };
        let mut object = body;
        for name in above {
            let Value::Object(below) = object.entry(name.clone()).or_insert_with(|| Map::new().into()) else {
                return false;
            };
            object = below;
        }
        object.insert(last.clone(), value).is_none()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pointer_is_checked_when_it_is_read() {
        for text in ["", "/", "/a", "/a/0/b", "/a~1b", "/a~0b", "/ä b"] {
            assert_eq!(text.parse::<Pointer>().map(|pointer| pointer.to_string()).as_deref(), Ok(text));
        }
        for (text, expected) in [
            ("accessToken", PlaceError::NoSlash),
            ("a/b", PlaceError::NoSlash),
            ("#/a", PlaceError::NoSlash),
            ("$.a", PlaceError::NoSlash),
            ("/a~", PlaceError::Tilde),
            ("/a~2b", PlaceError::Tilde),
        ] {
            assert_eq!(text.parse::<Pointer>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn places_are_told_apart_by_how_they_begin() {
        assert_eq!("token".parse(), Ok(Target::Field(Field::Name("token".into()))));
        assert_eq!("/a/b".parse(), Ok(Target::Field(Field::Pointer(Pointer("/a/b".into())))));
        assert_eq!("header:X-Refresh".parse(), Ok(Target::Header(HeaderName::from_static("x-refresh"))));
        assert_eq!("cookie:jid".parse(), Ok(Target::Cookie("jid".into())));
        assert_eq!("cookie:jid".parse(), Ok(Source::Cookie("jid".into())));
        for (text, expected) in [
            ("", PlaceError::Empty),
            ("header:", PlaceError::Header),
            ("header:a b", PlaceError::Header),
            ("cookie:a;b", PlaceError::Cookie),
            ("/~", PlaceError::Tilde),
        ] {
            assert_eq!(text.parse::<Target>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_value_is_put_where_its_place_says_and_nowhere_twice() {
        let put = |places: &[&str]| {
            let mut body = Map::new();
            let all = places.iter().all(|place| place.parse::<Field>().unwrap().put(&mut body, json!(1)));
            all.then_some(Value::from(body))
        };
        assert_eq!(
            put(&["a", "/b/c", "/b/d/e", "/f~1g"]),
            Some(json!({"a": 1, "b": {"c": 1, "d": {"e": 1}}, "f/g": 1}))
        );
        for twice in [["a", "a"], ["a", "/a"], ["/a/b", "/a/b"], ["/a", "/a/b"], ["/a/b", "/a"]] {
            assert_eq!(put(&twice), None, "{twice:?}");
        }
    }
}
