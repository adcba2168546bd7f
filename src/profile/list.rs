//! The list of all settings.

use super::LONGEST_NAME;
use super::settings::{Form, Setting, Writer};
use crate::http::ServerUrl;
use crate::renewal::json_api::{Field, METHODS, Pointer, Scheme, Source, Target, constant_header};
use crate::renewal::oauth::{Issuer, RedirectUrl};

/// All settings, in the order in which they are shown. A new one needs its entry here and its field in
/// [`Profile`](super::Profile), and nothing else.
pub const SETTINGS: &[Setting] = &[
    own("server", "address of the API; where `login` logs in", Form::Checked(is_server), "https://api.example.com/v1"),
    of_login("username", "who logged in last", Form::Text, "admin"),
    own("store", "where the tokens are kept", Form::Choice(&["keyring", "file"]), "file"),
    of_login("credential", "name of the tokens in the store", Form::Checked(is_id), "Zml4dHVyZS1jcmVkZW50aWFs"),
    own("allow_http", "whether http to another machine is allowed: tokens can be read on the way", Form::Flag, "true"),
    own(
        "cacert",
        "PEM file of the certificate authorities to trust, instead of the system's",
        Form::Path,
        "/etc/ssl/certs/company.pem",
    ),
    // An OAuth 2.0 server: docs/PROVIDERS.md.
    own("oauth.issuer", "OAuth 2.0 server, as it calls itself", Form::Checked(is_issuer), "https://id.example.com"),
    own("oauth.client_id", "identifier of the client there", Form::Text, "my-cli"),
    own("oauth.flow", "how to log in there", Form::Choice(&["browser", "device", "client-credentials"]), "device"),
    own("oauth.scopes", "what to ask for", Form::List(&Form::Text), "openid,offline_access,read"),
    own("oauth.audience", "whom the tokens are for", Form::Text, "https://api.example.com"),
    own(
        "oauth.redirect_uri",
        "where the browser comes back to",
        Form::Checked(is_redirect_uri),
        "http://127.0.0.1:8080/callback",
    ),
    own("oauth.client_authentication", "how a secret is shown", Form::Choice(&["basic", "post"]), "post"),
    own("oauth.safe_to_repeat", "whether a refresh may be sent again when its answer was lost", Form::Flag, "true"),
    // A JSON API of a shape of its own: docs/PROVIDERS.md.
    own("api.server", "where login and refresh are, if not at `server`", Form::Checked(is_server), "auth.example.com"),
    own("api.body", "how fields of requests are written", Form::Choice(&["json", "form"]), "form"),
    own("api.expired", "statuses that refuse a token", STATUSES, "401,419"),
    own("api.token.header", "header of requests that carries the token", Form::Checked(is_header), "X-Auth-Token"),
    own("api.token.scheme", "what stands before the token there", Form::Checked(is_scheme), "Token"),
    own("api.login.method", "method of the login call", METHOD, "PUT"),
    own("api.login.path", "its path", PATH, "/auth/sign-in"),
    own("api.login.username", "field of the user name", FIELD, "/user/email"),
    own("api.login.password", "field of the password", FIELD, "/user/password"),
    own("api.login.fields", "its other fields, in clear text", FIELDS, "{ client_id = \"cli\" }"),
    own("api.login.headers", "its other headers, in clear text", HEADERS, "{ X-Client = \"cli\" }"),
    own("api.refresh.method", "method of the refresh call", METHOD, "PUT"),
    own("api.refresh.path", "its path", PATH, "/auth/session"),
    own("api.refresh.token", "where the refresh token goes", TARGET, "header:X-Refresh-Token"),
    own("api.refresh.scheme", "what stands before it in a header", Form::Checked(is_scheme), "Refresh"),
    own("api.refresh.access_token", "where the access token goes, if it is wanted too", TARGET, "accessToken"),
    own("api.refresh.fields", "its other fields, in clear text", FIELDS, "{ client_id = \"cli\" }"),
    own("api.refresh.headers", "its other headers, in clear text", HEADERS, "{ X-Client = \"cli\" }"),
    own("api.refresh.safe_to_repeat", "whether it may be sent again when its answer was lost", Form::Flag, "true"),
    own("api.refresh.ended", "statuses that may end the session", STATUSES, "401,422"),
    own("api.refresh.ended_needs_error", "whether only those with an error end it", Form::Flag, "false"),
    own("api.refresh.ended_errors", "the errors that end it; none: all do", Form::List(&Form::Text), "session_over"),
    own("api.refresh.answer.access_token", "as api.answer.access_token, for refresh alone", SOURCE, "/token"),
    own("api.refresh.answer.refresh_token", "as api.answer.refresh_token, for refresh alone", SOURCE, "/refresh"),
    own("api.refresh.answer.expires_in", "as api.answer.expires_in, for refresh alone", SOURCE, "/ttl"),
    own("api.refresh.answer.refresh_expires_in", "as the one of api.answer, for refresh alone", SOURCE, "/session_ttl"),
    own("api.refresh.answer.error", "as api.answer.error, for refresh alone", POINTER, "/detail"),
    own("api.logout.enabled", "whether there is a logout call", Form::Flag, "false"),
    own("api.logout.method", "its method", METHOD, "DELETE"),
    own("api.logout.path", "its path", PATH, "/auth/session"),
    own("api.logout.token", "where the refresh token goes", TARGET, "cookie:refresh_token"),
    own("api.logout.scheme", "what stands before it in a header", Form::Checked(is_scheme), "Refresh"),
    own("api.logout.access_token", "where the access token goes, if it is wanted", TARGET, "header:Authorization"),
    own("api.logout.fields", "its other fields, in clear text", FIELDS, "{ client_id = \"cli\" }"),
    own("api.logout.headers", "its other headers, in clear text", HEADERS, "{ X-Client = \"cli\" }"),
    own("api.answer.access_token", "where the access token stands in an answer", SOURCE, "/data/tokens/access"),
    own("api.answer.refresh_token", "where the refresh token stands", SOURCE, "/data/tokens/refresh"),
    own("api.answer.expires_in", "where the seconds stand that the access token lives", SOURCE, "/data/expires_in"),
    own("api.answer.refresh_expires_in", "where those of the session stand", SOURCE, "/data/session_expires_in"),
    own("api.answer.error", "where a refusal says why", POINTER, "/errors/0/code"),
];

const METHOD: Form = Form::Choice(METHODS);
const PATH: Form = Form::Checked(is_path);
const FIELD: Form = Form::Checked(|text| text.parse::<Field>().map(drop).map_err(|error| error.to_string()));
const TARGET: Form = Form::Checked(|text| text.parse::<Target>().map(drop).map_err(|error| error.to_string()));
const SOURCE: Form = Form::Checked(|text| text.parse::<Source>().map(drop).map_err(|error| error.to_string()));
const POINTER: Form = Form::Checked(|text| text.parse::<Pointer>().map(drop).map_err(|error| error.to_string()));
const STATUSES: Form = Form::List(&Form::Number(200, 499));
const FIELDS: Form = Form::Constants {
    name: |name| name.parse::<Field>().map(drop).map_err(|error| error.to_string()),
    of: &Form::Constant,
};
const HEADERS: Form = Form::Constants { name: is_header, of: &Form::Checked(is_header_value) };

const fn own(key: &'static str, about: &'static str, form: Form, example: &'static str) -> Setting {
    Setting { key, about, form, example, writer: Writer::Person }
}

const fn of_login(key: &'static str, about: &'static str, form: Form, example: &'static str) -> Setting {
    Setting { key, about, form, example, writer: Writer::Login }
}

fn is_server(text: &str) -> Result<(), String> {
    ServerUrl::parse(text).map(drop).map_err(|error| format!("must be the address of a server: {error}"))
}

fn is_issuer(text: &str) -> Result<(), String> {
    Issuer::parse(text).map(drop).map_err(|error| format!("must be an issuer: {error}"))
}

fn is_redirect_uri(text: &str) -> Result<(), String> {
    let fits = RedirectUrl::new(text.to_owned()).is_ok_and(|uri| uri.url().fragment().is_none());
    if fits { Ok(()) } else { Err("must be a whole URL without a fragment".into()) }
}

/// The id becomes part of a file name, so it must not lead out of its directory.
fn is_id(text: &str) -> Result<(), String> {
    let fits = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    if text.is_empty() || text.len() > LONGEST_NAME || !text.chars().all(fits) {
        return Err("is no id".into());
    }
    Ok(())
}

fn is_path(text: &str) -> Result<(), String> {
    let anywhere = ServerUrl::parse("https://server").and_then(|server| server.join(text));
    anywhere.map(drop).map_err(|error| format!("must be a path on the server: {error}"))
}

fn is_scheme(text: &str) -> Result<(), String> {
    Scheme::try_from(text.to_owned()).map(drop).map_err(str::to_owned)
}

fn is_header(name: &str) -> Result<(), String> {
    constant_header(name).map(drop).map_err(|error| format!("must be the name of a header: {error}"))
}

/// The value is never repeated: it may be a secret.
fn is_header_value(text: &str) -> Result<(), String> {
    let value = reqwest::header::HeaderValue::try_from(text);
    value.map(drop).map_err(|_| "holds what cannot stand in a header".into())
}
