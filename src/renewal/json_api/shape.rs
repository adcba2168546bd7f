//! What a JSON API looks like, as a profile describes it: the table `api` of its profile, every key of it optional.
//!
//! Without it the API is one that speaks `POST /login`, `POST /refresh`, `POST /logout` with `accessToken` and
//! `refreshToken`.

use reqwest::header::{AUTHORIZATION, HeaderName};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Deserializer, de};

use super::constants::{ConstantFields, ConstantHeaders, constant_header};
use super::place::{Field, Pointer, Source, Target};
use crate::attachment::Attachment;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiShape {
    /// Where login, refresh and logout are, if not at the API's own address.
    pub server: Option<String>,
    /// How the fields of requests are written.
    pub body: BodyForm,
    /// The statuses of ordinary requests that refuse the token.
    pub expired: Option<Vec<Refusal>>,
    /// How ordinary requests carry the token.
    pub token: TokenShape,
    /// The call that takes a password.
    pub login: LoginShape,
    /// The call that takes a refresh token.
    pub refresh: RefreshShape,
    /// The call that ends a session.
    pub logout: LogoutShape,
    /// What stands where in an answer of login and refresh.
    pub answer: AnswerShape,
}

/// How the fields of a request's body are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyForm {
    /// As a JSON object.
    #[default]
    Json,
    /// As `application/x-www-form-urlencoded`.
    Form,
}

/// How ordinary requests carry the access token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenShape {
    /// In which header; `Authorization` unless told.
    #[serde(deserialize_with = "parsed_option")]
    pub header: Option<HeaderName>,
    /// After which scheme; see [`Scheme`].
    pub scheme: Option<Scheme>,
}

/// The call that takes a password.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoginShape {
    /// Its method.
    pub method: CallMethod,
    /// Its path.
    pub path: String,
    /// Where the user name goes.
    pub username: Field,
    /// Where the password goes.
    pub password: Field,
    /// What else stands in the body.
    pub fields: ConstantFields,
    /// What else stands in the head.
    pub headers: ConstantHeaders,
}

/// The call that takes a refresh token.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefreshShape {
    /// Its method.
    pub method: CallMethod,
    /// Its path.
    pub path: String,
    /// Where the refresh token goes.
    pub token: Target,
    /// What stands before the refresh token in its header.
    pub scheme: Option<Scheme>,
    /// Where the access token goes, if the call takes that too.
    pub access_token: Option<Target>,
    /// What else stands in the body.
    pub fields: ConstantFields,
    /// What else stands in the head.
    pub headers: ConstantHeaders,
    /// Whether it may be sent again when its answer was lost.
    pub safe_to_repeat: Option<bool>,
    /// The statuses that may end a session.
    pub ended: Vec<Refusal>,
    /// Whether only those answers do that say something at [`AnswerShape::error`].
    pub ended_needs_error: bool,
    /// The words there that end a session; none: all do.
    pub ended_errors: Vec<String>,
    /// Where its answer differs from that of the login.
    pub answer: AnswerShape,
}

/// The call that ends a session.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogoutShape {
    /// Whether there is such a call.
    pub enabled: bool,
    /// Its method.
    pub method: CallMethod,
    /// Its path.
    pub path: String,
    /// Where the refresh token goes.
    pub token: Target,
    /// What stands before the refresh token in its header.
    pub scheme: Option<Scheme>,
    /// Where the access token goes, if the call takes that too.
    pub access_token: Option<Target>,
    /// What else stands in the body.
    pub fields: ConstantFields,
    /// What else stands in the head.
    pub headers: ConstantHeaders,
}

/// What stands where in an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnswerShape {
    /// The access token.
    pub access_token: Option<Source>,
    /// The refresh token.
    pub refresh_token: Option<Source>,
    /// How many seconds the access token lives.
    pub expires_in: Option<Source>,
    /// How many seconds the session lives without a refresh.
    pub refresh_expires_in: Option<Source>,
    /// What a refusal says.
    pub error: Option<Pointer>,
}

impl Default for LoginShape {
    fn default() -> Self {
        Self {
            method: CallMethod::default(),
            path: "/login".into(),
            username: Field::Name("username".into()),
            password: Field::Name("password".into()),
            fields: ConstantFields::default(),
            headers: ConstantHeaders::default(),
        }
    }
}

impl Default for RefreshShape {
    fn default() -> Self {
        Self {
            method: CallMethod::default(),
            path: "/refresh".into(),
            token: Target::Field(Field::Name("refreshToken".into())),
            scheme: None,
            access_token: None,
            fields: ConstantFields::default(),
            headers: ConstantHeaders::default(),
            safe_to_repeat: None,
            ended: [StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].map(Refusal).to_vec(),
            ended_needs_error: true,
            ended_errors: Vec::new(),
            answer: AnswerShape::default(),
        }
    }
}

impl Default for LogoutShape {
    fn default() -> Self {
        Self {
            enabled: true,
            method: CallMethod::default(),
            path: "/logout".into(),
            token: Target::Field(Field::Name("refreshToken".into())),
            scheme: None,
            access_token: None,
            fields: ConstantFields::default(),
            headers: ConstantHeaders::default(),
        }
    }
}

impl ApiShape {
    /// Returns how requests of such an API carry the token, and which answers refuse it.
    pub fn attachment(&self) -> Attachment {
        let default = Attachment::default();
        let header = self.token.header.clone().unwrap_or(default.header);
        Attachment {
            prefix: prefix(&header, self.token.scheme.as_ref()),
            header,
            refused_by: match &self.expired {
                Some(statuses) => statuses.iter().map(|refusal| refusal.0).collect(),
                None => default.refused_by,
            },
        }
    }

    /// Returns whether a refresh whose answer was lost may be sent again. Unless the profile says so, only that of an API
    /// that refreshes in every way as the default does: such servers answer the same successor, or a pair that replaces
    /// nothing.
    pub(super) fn is_safe_to_repeat(&self) -> bool {
        self.refresh.safe_to_repeat.unwrap_or_else(|| {
            let default = Self::default();
            (self.body, &self.refresh, &self.answer) == (default.body, &default.refresh, &default.answer)
        })
    }

    /// Returns itself without its constants, for calls to a server that they are not for.
    pub(super) fn without_constants(&self) -> Self {
        let mut shape = self.clone();
        let Self { login, refresh, logout, .. } = &mut shape;
        for (fields, headers) in [
            (&mut login.fields, &mut login.headers),
            (&mut refresh.fields, &mut refresh.headers),
            (&mut logout.fields, &mut logout.headers),
        ] {
            (*fields, *headers) = Default::default();
        }
        shape
    }
}

/// Returns what stands before a token in `header`.
pub(super) fn prefix(header: &HeaderName, scheme: Option<&Scheme>) -> String {
    match scheme {
        Some(scheme) => scheme.prefix(),
        None if header == AUTHORIZATION => Scheme("Bearer".into()).prefix(),
        None => String::new(),
    }
}

/// What stands before a token in a header: `Bearer`, `Token`, or nothing. A space follows, but after `=` none does
/// (`Token token=`, `session=`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Scheme(String);

impl Scheme {
    fn prefix(&self) -> String {
        if self.0.is_empty() || self.0.ends_with('=') { self.0.clone() } else { format!("{} ", self.0) }
    }
}

impl TryFrom<String> for Scheme {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let text = text.trim();
        if text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return Ok(Self(text.to_owned()));
        }
        Err("must be such as `Bearer`, in plain ASCII; empty for none")
    }
}

/// A status that refuses something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct Refusal(pub(super) StatusCode);

impl TryFrom<i64> for Refusal {
    type Error = &'static str;

    fn try_from(number: i64) -> Result<Self, Self::Error> {
        let status = u16::try_from(number).ok().and_then(|number| StatusCode::from_u16(number).ok());
        status.filter(|status| is_refusal(*status)).map(Self).ok_or(
            "must be 200 or a status from 400 to 499; 408 and 429 say that it is too late or too often, and refuse nothing",
        )
    }
}

fn is_refusal(status: StatusCode) -> bool {
    // Some APIs answer everything with 200.
    if status == StatusCode::OK {
        return true;
    }
    status.is_client_error() && ![StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status)
}

/// The method of a call.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CallMethod(pub(super) Method);

/// The methods that a call may have.
pub const METHODS: &[&str] = &["POST", "PUT", "PATCH", "DELETE", "GET"];

impl Default for CallMethod {
    fn default() -> Self {
        Self(Method::POST)
    }
}

impl TryFrom<String> for CallMethod {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if METHODS.contains(&text.as_str()) {
            return text.parse().map(Self).map_err(|_| "is no method");
        }
        Err("must be `POST`, `PUT`, `PATCH`, `DELETE` or `GET`")
    }
}

fn parsed_option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<HeaderName>, D::Error> {
    let name = String::deserialize(deserializer)?;
    constant_header(&name).map(Some).map_err(de::Error::custom)
}
