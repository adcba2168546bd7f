//! An authorization server that the test answers by hand; the API is on it, too.

mod browser;
mod client;
mod device;
mod discovery;
mod session;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use url::Url;

use crate::support::{Answer, BOUND, Call, Cli, Conversation, Endpoint, Output, Running};

const OPENID: &str = "/.well-known/openid-configuration";
/// Whatever must not be seen.
const SECRETS: [&str; 7] = [
    "canary-access",
    "canary-refresh",
    "canary-code",
    "canary-secret",
    "canary-device",
    "Basic ",
    "canary-description",
];

fn metadata(endpoint: &Endpoint) -> Value {
    let at = |path: &str| format!("{}{path}", endpoint.url);
    json!({
        "issuer": endpoint.url,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "device_authorization_endpoint": at("/device"),
        "revocation_endpoint": at("/revoke"),
        "scopes_supported": ["openid", "offline_access", "profile"],
        "authorization_response_iss_parameter_supported": true,
    })
}

fn tokens(number: u32) -> Value {
    json!({
        "access_token": format!("canary-access-{number}"),
        "refresh_token": format!("canary-refresh-{number}"),
        "token_type": "Bearer",
        "expires_in": 900,
    })
}

fn id_token(claims: &Value) -> String {
    let parts = [json!({"alg": "RS256"}), claims.clone()].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    format!("{}.{}.c2ln", parts[0], parts[1])
}

fn discover(endpoint: &Endpoint) {
    endpoint.expect("GET", OPENID).reply(Answer::json(200, &metadata(endpoint)));
}

/// Returns the arguments of a login at `endpoint`.
fn login<'a>(endpoint: &'a Endpoint, more: &[&'a str]) -> Vec<&'a str> {
    [&["login", "-vv", "--issuer", &endpoint.url, "--client-id", "cli"], more].concat()
}

fn fields<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// Begins a login with a browser elsewhere. Returns where the browser is sent.
fn begin(endpoint: &Endpoint, cli: &Cli, more: &[&str], input: &str) -> (Running, Conversation, Url) {
    let arguments = login(endpoint, &[&["--no-browser"], more].concat());
    let (running, mut conversation) = cli.start_conversation(&arguments, input);
    discover(endpoint);
    let address = conversation.line(&format!("{}/authorize?", endpoint.url));
    (running, conversation, Url::parse(&address).unwrap())
}

fn query(url: &Url) -> BTreeMap<String, String> {
    url.query_pairs().into_owned().collect()
}

/// Comes back as a browser does; returns what it is shown.
fn come_back(asked: &BTreeMap<String, String>, answer: &[(&str, &str)]) -> String {
    let mut url = Url::parse(&asked["redirect_uri"]).unwrap();
    url.query_pairs_mut().extend_pairs(answer);
    let mut stream = TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    write!(stream, "GET {}?{} HTTP/1.1\r\nhost: h\r\n\r\n", url.path(), url.query().unwrap()).unwrap();
    let mut shown = String::new();
    stream.read_to_string(&mut shown).unwrap();
    shown
}

#[track_caller]
fn assert_no_secret(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} in: {text}");
    }
}

/// Logs in with client credentials: the quickest way.
fn log_in_as_client(endpoint: &Endpoint, cli: &Cli) -> Output {
    let more = ["--flow", "client-credentials", "--client-secret-stdin", "--scope", "read", "--audience", "api"];
    let running = cli.start_with_input(&login(endpoint, &more), "canary-secret %:\n");
    discover(endpoint);
    let call = endpoint.expect("POST", "/token");
    assert_client_credentials(&call);
    call.reply(Answer::json(
        200,
        &json!({"access_token": "canary-access-1", "token_type": "bearer", "expires_in": 900}),
    ));
    running.finish().expect(0).without_stdout()
}

#[track_caller]
fn assert_client_credentials(call: &Call) {
    let expected = [("audience", "api"), ("grant_type", "client_credentials"), ("scope", "read")];
    assert_eq!(call.form(), fields(expected));
    let basic = format!("Basic {}", STANDARD.encode("cli:canary-secret+%25%3A"));
    assert_eq!(call.header("authorization"), Some(basic.as_str()));
}

/// Logs in with a browser, for tokens of this number.
fn log_in(endpoint: &Endpoint, cli: &Cli, number: u32) -> String {
    let (running, conversation, address) = begin(endpoint, cli, &[], "");
    let asked = query(&address);
    come_back(&asked, &[("code", "canary-code"), ("state", &asked["state"]), ("iss", &endpoint.url)]);
    endpoint.expect("POST", "/token").reply(Answer::json(200, &tokens(number)));
    if number > 1 {
        let call = endpoint.expect("POST", "/revoke");
        assert_eq!(call.form()["token"], format!("canary-refresh-{}", number - 1));
        call.reply(Answer::new(200, ""));
    }
    running.finish().expect(0).without_stdout();
    conversation.rest()
}
