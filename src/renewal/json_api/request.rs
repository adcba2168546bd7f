//! Requests to a JSON API, in its shape.

use reqwest::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Request, StatusCode};
use serde_json::{Map, Value};
use url::{Origin, Url, form_urlencoded};

use super::constants::{ConstantFields, ConstantHeaders};
use super::place::{Field, Target};
use super::shape::{ApiShape, BodyForm, LoginShape, LogoutShape, RefreshShape, Refusal, prefix};
use crate::attachment::Attachment;
use crate::token::Secret;

/// Constants shorter than this are no secrets: `grant_type`'s value may well stand in an error's text.
const SHORTEST_SECRET: usize = 16;

/// What does not fit together in a shape; the text names the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ShapeError(String);

/// A call that is being put together.
struct Draft<'a> {
    /// Which it is, as its table in the profile is called.
    name: &'static str,
    has_constants: bool,
    method: &'a Method,
    form: BodyForm,
    headers: HeaderMap,
    cookies: String,
    body: Map<String, Value>,
}

impl ApiShape {
    /// Checks what no setting tells alone: that each call can be put together, and that no answer counts as a refusal that
    /// may well be none.
    pub fn check(&self) -> Result<(), ShapeError> {
        let is_ok = |refusal: &Refusal| refusal.0 == StatusCode::OK;
        if self.expired.iter().flatten().any(is_ok) {
            return Err(ShapeError("`api.expired`: 200 refuses no request".into()));
        }
        // What looks like an error beside a success may be the code of that.
        if self.refresh.ended_errors.is_empty() && self.refresh.ended.iter().any(is_ok) {
            return Err(ShapeError(
                "`api.refresh.ended`: 200 ends a session only with an error that `ended_errors` names".into(),
            ));
        }
        let token = Secret::new("token");
        login(self, "name", &token)?;
        refresh(self, &token, Some(&token))?;
        logout(self, &token, &token).map(drop)
    }

    /// Returns whether any call of it holds constants, which may be secrets.
    pub fn has_constants(&self) -> bool {
        let Self { login, refresh, logout, .. } = self;
        [&login.fields, &refresh.fields, &logout.fields].into_iter().any(|fields| !fields.0.is_empty())
            || [&login.headers, &refresh.headers, &logout.headers].into_iter().any(|headers| !headers.0.is_empty())
    }
}

/// A call as it is sent, apart from where to.
pub(super) struct Call {
    name: &'static str,
    has_constants: bool,
    method: Method,
    headers: HeaderMap,
    body: Option<(&'static str, Vec<u8>)>,
}

impl Call {
    /// Refuses to go to `url`, if what the profile puts into it is for `home`, and that is another server.
    pub(super) fn check_home(&self, home: &Origin, url: &Url) -> Result<(), ShapeError> {
        let to = url.origin();
        if !self.has_constants || to == *home {
            return Ok(());
        }
        let (home, to) = (home.ascii_serialization(), to.ascii_serialization());
        Err(ShapeError(format!("`api.{}`: its fields and headers are for {home}, not for {to}", self.name)))
    }

    /// Returns the request of this call to `url`.
    pub(super) fn to(self, client: &Client, url: &Url) -> reqwest::Result<Request> {
        let mut request = client.request(self.method, url.clone());
        if let Some((kind, body)) = self.body {
            request = request.header("Content-Type", kind).body(body);
        }
        // After the body, so that a profile may say its type more precisely.
        request.headers(self.headers).build()
    }
}

/// Returns the login call.
pub(super) fn login(shape: &ApiShape, username: &str, password: &Secret) -> Result<Call, ShapeError> {
    let LoginShape { method, path: _, username: name_field, password: password_field, fields, headers } = &shape.login;
    let mut draft = Draft::new(shape, "login", &method.0, headers, fields)?;
    draft.put(name_field, username.into())?;
    draft.put(password_field, password.expose().into())?;
    draft.finish()
}

/// Returns the refresh call. It lacks the access token where there is none.
pub(super) fn refresh(shape: &ApiShape, refresh: &Secret, access: Option<&Secret>) -> Result<Call, ShapeError> {
    let RefreshShape { method, token, scheme, access_token, fields, headers, .. } = &shape.refresh;
    let mut draft = Draft::new(shape, "refresh", &method.0, headers, fields)?;
    draft.place(token, refresh, |header| prefix(header, scheme.as_ref()))?;
    draft.place_access_token(access_token.as_ref(), access, shape)?;
    draft.finish()
}

/// Returns the logout call.
pub(super) fn logout(shape: &ApiShape, refresh: &Secret, access: &Secret) -> Result<Call, ShapeError> {
    let LogoutShape { enabled: _, method, path: _, token, scheme, access_token, fields, headers } = &shape.logout;
    let mut draft = Draft::new(shape, "logout", &method.0, headers, fields)?;
    draft.place(token, refresh, |header| prefix(header, scheme.as_ref()))?;
    draft.place_access_token(access_token.as_ref(), Some(access), shape)?;
    draft.finish()
}

/// Returns the constants of all calls that may be secrets.
pub(super) fn constants(shape: &ApiShape) -> Vec<&str> {
    let ApiShape { login, refresh, logout, .. } = shape;
    let fields = [&login.fields, &refresh.fields, &logout.fields].into_iter().flat_map(ConstantFields::texts);
    let headers = [&login.headers, &refresh.headers, &logout.headers].into_iter().flat_map(|headers| &headers.0);
    let texts = fields.chain(headers.filter_map(|(_, value)| value.to_str().ok()));
    texts.filter(|text| text.len() >= SHORTEST_SECRET).collect()
}

impl<'a> Draft<'a> {
    fn new(
        shape: &ApiShape,
        name: &'static str,
        method: &'a Method,
        headers: &ConstantHeaders,
        fields: &ConstantFields,
    ) -> Result<Self, ShapeError> {
        let mut draft = Self {
            name,
            has_constants: !headers.0.is_empty() || !fields.0.is_empty(),
            method,
            form: shape.body,
            headers: headers.0.iter().cloned().collect(),
            cookies: String::new(),
            body: Map::new(),
        };
        for (field, value) in &fields.0 {
            draft.put(field, value.clone())?;
        }
        Ok(draft)
    }

    fn place_access_token(
        &mut self,
        target: Option<&Target>,
        token: Option<&Secret>,
        shape: &ApiShape,
    ) -> Result<(), ShapeError> {
        let Some((target, token)) = target.zip(token) else { return Ok(()) };
        let Attachment { header: own, prefix: own_prefix, .. } = shape.attachment();
        // In its own header it stands as in any request.
        self.place(target, token, |header| if *header == own { own_prefix.clone() } else { prefix(header, None) })
    }

    fn place(
        &mut self,
        target: &Target,
        token: &Secret,
        before: impl Fn(&HeaderName) -> String,
    ) -> Result<(), ShapeError> {
        match target {
            Target::Field(field) => self.put(field, token.expose().into()),
            Target::Header(name) => self.set(name, &format!("{}{}", before(name), token.expose())),
            Target::Cookie(name) => {
                let divider = if self.cookies.is_empty() { "" } else { "; " };
                self.cookies.extend([divider, name, "=", token.expose()]);
                Ok(())
            }
        }
    }

    fn put(&mut self, field: &Field, value: Value) -> Result<(), ShapeError> {
        if self.form == BodyForm::Form && (matches!(field, Field::Pointer(_)) || value.is_object() || value.is_array())
        {
            return Err(self.wrong(&format!("field `{field}` cannot stand in a form, which has no depth")));
        }
        if field.put(&mut self.body, value) {
            Ok(())
        } else {
            Err(self.wrong(&format!("two values for field `{field}`")))
        }
    }

    fn set(&mut self, name: &HeaderName, value: &str) -> Result<(), ShapeError> {
        // Tokens are checked when they arrive; one that no header can carry came from a damaged store.
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| self.wrong(&format!("the token cannot stand in header `{name}`")))?;
        value.set_sensitive(true);
        if self.headers.insert(name, value).is_some() {
            return Err(self.wrong(&format!("two values for header `{name}`")));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Call, ShapeError> {
        if !self.cookies.is_empty() {
            let cookies = std::mem::take(&mut self.cookies);
            self.set(&COOKIE, &cookies)?;
        }
        if *self.method == Method::GET && !self.body.is_empty() {
            return Err(self.wrong("a GET request has no body; put the token into a header"));
        }
        let body = match self.form {
            // None at all, rather than one that says nothing: some servers would ask for its fields.
            _ if self.body.is_empty() => None,
            BodyForm::Json => Some(("application/json", Value::Object(self.body).to_string().into_bytes())),
            BodyForm::Form => Some(("application/x-www-form-urlencoded", form(&self.body).into_bytes())),
        };
        let Self { name, has_constants, headers, .. } = self;
        Ok(Call { name, has_constants, method: self.method.clone(), headers, body })
    }

    fn wrong(&self, what: &str) -> ShapeError {
        ShapeError(format!("`api.{}`: {what}", self.name))
    }
}

fn form(fields: &Map<String, Value>) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        match value {
            Value::String(text) => form.append_pair(name, text),
            value => form.append_pair(name, &value.to_string()),
        };
    }
    form.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shape(text: &str) -> ApiShape {
        toml::from_str(text).unwrap()
    }

    fn body(call: &Call) -> &str {
        call.body.as_ref().map_or("", |(_, body)| std::str::from_utf8(body).unwrap())
    }

    #[test]
    fn the_default_is_the_plain_dual_token_api() {
        let shape = ApiShape::default();
        let token = Secret::new("t");
        let call = login(&shape, "admin", &Secret::new("p")).unwrap();
        assert_eq!(body(&call), "{\"password\":\"p\",\"username\":\"admin\"}");
        for call in [refresh(&shape, &token, Some(&token)).unwrap(), logout(&shape, &token, &token).unwrap()] {
            assert_eq!((call.method.as_str(), body(&call)), ("POST", "{\"refreshToken\":\"t\"}"));
            assert!(call.headers.is_empty());
        }
    }

    #[test]
    fn fields_go_as_deep_as_the_profile_says() {
        let shape = shape(
            "login.username = '/user/email'\nlogin.password = '/user/password'\nlogin.fields = { '/user/remember' = true, v = 2 }",
        );
        let call = login(&shape, "a@b", &Secret::new("p")).unwrap();
        let sent: Value = serde_json::from_str(body(&call)).unwrap();
        assert_eq!(sent, json!({"user": {"email": "a@b", "password": "p", "remember": true}, "v": 2}));
    }

    #[test]
    fn a_form_is_encoded() {
        let shape = shape("body = 'form'\nlogin.fields = { grant_type = 'password', n = 1 }");
        let call = login(&shape, "a b&c", &Secret::new("p=ä")).unwrap();
        assert_eq!(body(&call), "grant_type=password&n=1&password=p%3D%C3%A4&username=a+b%26c");
        assert_eq!(call.body.unwrap().0, "application/x-www-form-urlencoded");
    }

    #[test]
    fn tokens_go_into_headers_and_cookies() {
        let [refresh_token, access] = ["r", "a"].map(Secret::new);
        for (text, name, expected) in [
            ("refresh.token = 'header:Authorization'", "authorization", "Bearer r"),
            ("refresh.token = 'header:X-Refresh'", "x-refresh", "r"),
            ("refresh.token = 'header:X-Refresh'\nrefresh.scheme = 'Refresh'", "x-refresh", "Refresh r"),
            ("refresh.token = 'cookie:jid'", "cookie", "jid=r"),
            ("refresh.token = 'cookie:jid'\nrefresh.access_token = 'cookie:sid'", "cookie", "jid=r; sid=a"),
            ("refresh.access_token = 'header:Authorization'", "authorization", "Bearer a"),
        ] {
            let call = refresh(&shape(text), &refresh_token, Some(&access)).unwrap();
            assert_eq!(call.headers[name], expected, "{text}");
            assert!(call.headers[name].is_sensitive());
        }
        let call =
            refresh(&shape("refresh.method = 'GET'\nrefresh.token = 'cookie:jid'"), &refresh_token, Some(&access));
        assert!(call.unwrap().body.is_none());
    }

    #[test]
    fn what_cannot_be_put_together_is_found_before_it_is_sent() {
        for (text, expected) in [
            ("expired = [200]", "`api.expired`: 200 refuses no request"),
            ("refresh.ended = [401, 200]", "`api.refresh.ended`"),
            ("login.username = 'password'", "`api.login`: two values for field `password`"),
            ("login.fields = { '/username/a' = 1 }", "`api.login`: two values for field `username`"),
            ("body = 'form'\nlogin.username = '/user/name'", "`api.login`: field `/user/name` cannot stand in a form"),
            ("body = 'form'\nrefresh.fields = { a = [1] }", "`api.refresh`: field `a` cannot stand in a form"),
            ("refresh.method = 'GET'", "`api.refresh`: a GET request has no body"),
            (
                "logout.token = 'header:X-T'\nlogout.headers = { x-t = 'a' }",
                "`api.logout`: two values for header `x-t`",
            ),
            ("logout.token = 'cookie:t'\nlogout.headers = { Cookie = 'a=b' }", "two values for header `cookie`"),
            ("refresh.access_token = 'refreshToken'", "`api.refresh`: two values for field `refreshToken`"),
        ] {
            let error = shape(text).check().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert_eq!(ApiShape::default().check(), Ok(()));
    }

    #[test]
    fn constants_are_shown_nowhere() {
        let shape = shape(
            "login.headers = { X-Api-Key = 'canary-of-sixteen' }\nrefresh.fields = { client_secret = 'canary-of-a-field' }\n\
             logout.fields = { client = { keys = ['canary-below-a-table', 1] } }",
        );
        let debug = format!("{shape:?}");
        assert!(debug.contains("x-api-key") && debug.contains("client_secret"), "{debug}");
        assert!(!debug.contains("canary"), "{debug}");
        assert_eq!(constants(&shape), ["canary-of-a-field", "canary-below-a-table", "canary-of-sixteen"]);
        assert!(login(&shape, "a", &Secret::new("p")).unwrap().headers["x-api-key"].is_sensitive());
    }
}
