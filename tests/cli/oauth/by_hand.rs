//! An authorization server that the test answers by hand; the API is on it, too.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::support::{Answer, Cli, Conversation, Endpoint, Output, Running};

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
fn assert_client_credentials(call: &crate::support::Call) {
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

#[test]
fn a_login_with_a_browser_says_what_the_standards_ask_for() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let (running, conversation, address) = begin(&endpoint, &cli, &["--audience", "api"], "");
    let asked = query(&address);
    let redirect_uri = &asked["redirect_uri"];
    assert!(redirect_uri.starts_with("http://127.0.0.1:") && redirect_uri.ends_with("/callback"), "{redirect_uri}");
    let [challenge, state, nonce] = ["code_challenge", "state", "nonce"].map(|name| asked[name].as_str());
    let expected = [
        ("audience", "api"),
        ("client_id", "cli"),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256"),
        ("nonce", nonce),
        ("prompt", "consent"),
        ("redirect_uri", redirect_uri),
        ("response_type", "code"),
        ("scope", "openid offline_access"),
        ("state", state),
    ];
    assert_eq!(asked, fields(expected));

    let shown = come_back(&asked, &[("code", "canary-code"), ("state", state), ("iss", &endpoint.url)]);
    assert!(shown.contains("You may close this page") && !shown.contains("canary"), "{shown}");
    let call = endpoint.expect("POST", "/token");
    let form = call.form();
    let verifier = form["code_verifier"].as_str();
    assert_eq!(URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)), challenge);
    let expected = [
        ("client_id", "cli"),
        ("code", "canary-code"),
        ("code_verifier", verifier),
        ("grant_type", "authorization_code"),
        ("redirect_uri", redirect_uri),
    ];
    assert_eq!(form, fields(expected));
    assert_eq!((call.header("accept"), call.header("authorization")), (Some("application/json"), None));
    let mut answer = tokens(1);
    let claims = json!({"iss": endpoint.url, "aud": "cli", "nonce": nonce, "sub": "42", "preferred_username": "ann"});
    answer["id_token"] = id_token(&claims).into();
    call.reply(Answer::json(200, &answer));
    running.finish().expect(0).without_stdout();
    let said = conversation.rest();
    assert!(said.contains(&format!("Logged in to {} as ann", endpoint.url)), "{said}");
    assert_no_secret(&said);
    assert!(!said.contains(verifier), "{said}");

    let status = cli.run(&["status", "--json"]).expect(0).json();
    assert_eq!((&status["username"], &status["server"]), (&json!("ann"), &json!(endpoint.url)));
}

#[test]
fn a_session_is_renewed_and_revoked_where_it_was_had_from_without_asking_again() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    assert_no_secret(&log_in(&endpoint, &cli, 1));
    cli.let_pass(SignedDuration::from_secs(900));

    let running = cli.start(&["get", "/api", "-vv"]);
    let call = endpoint.expect("POST", "/token");
    let expected = [("client_id", "cli"), ("grant_type", "refresh_token"), ("refresh_token", "canary-refresh-1")];
    assert_eq!(call.form(), fields(expected));
    call.reply(Answer::json(200, &tokens(2)));
    let call = endpoint.expect("GET", "/api");
    assert_eq!(call.bearer(), Some("canary-access-2"));
    call.reply(Answer::new(200, "hello"));
    let output = running.finish().expect(0);
    assert_eq!(output.text(), "hello");
    assert_no_secret(&output.stderr);

    let running = cli.start(&["logout", "-vv"]);
    let call = endpoint.expect("POST", "/revoke");
    let expected = [("client_id", "cli"), ("token", "canary-refresh-2"), ("token_type_hint", "refresh_token")];
    assert_eq!(call.form(), fields(expected));
    call.reply(Answer::new(200, ""));
    assert_no_secret(&running.finish().expect(0).without_stdout().stderr);
    cli.run(&["get", "/api"]).expect(7);
}

#[test]
fn the_next_login_needs_no_flags_and_revokes_the_session_before() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    log_in(&endpoint, &cli, 1);
    let config = std::fs::read_to_string(cli.configuration().join("config.toml")).unwrap();
    for line in ["client_id = \"cli\"", "flow = \"browser\"", &format!("issuer = \"{}\"", endpoint.url)] {
        assert!(config.contains(line), "{line} in {config}");
    }
    log_in(&endpoint, &cli, 2);

    let (running, mut conversation) = cli.start_conversation(&["login"], "");
    discover(&endpoint);
    let asked = query(&Url::parse(&conversation.line(&endpoint.url)).unwrap());
    come_back(&asked, &[("error", "access_denied"), ("state", &asked["state"]), ("iss", &endpoint.url)]);
    running.finish().expect(4);
    // A login that failed leaves the session alone.
    assert_eq!(cli.stored()["access_token"], "canary-access-2");
    let mixed = cli.run(&["login", "-u", "admin", "--password-stdin"]).expect(2);
    assert!(mixed.stderr.contains("--profile"), "{}", mixed.stderr);
}

#[test]
fn the_address_may_be_pasted_back() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    // One that leads elsewhere: nothing listens for it.
    let more = ["--redirect-uri", "https://app.example/done", "--scope", "read"];
    let (running, mut conversation, address) = begin(&endpoint, &cli, &more, "hm\n\n");
    let asked = query(&address);
    assert_eq!((asked["redirect_uri"].as_str(), asked["scope"].as_str()), ("https://app.example/done", "read"));
    conversation.line("That is no address");
    let pasted = format!("https://app.example/done?code=canary-code&state={}&iss={}\n", asked["state"], endpoint.url);
    conversation.stdin.write_all(pasted.as_bytes()).unwrap();
    let call = endpoint.expect("POST", "/token");
    assert_eq!(call.form()["redirect_uri"], "https://app.example/done");
    call.reply(Answer::json(200, &tokens(1)));
    running.finish().expect(0);
    assert_no_secret(&conversation.rest());
}

#[test]
fn an_answer_that_is_not_to_this_login_is_not_used() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let issuer = endpoint.url.as_str();
    for (answer, code, expected) in [
        (&[("code", "canary-code"), ("state", "other"), ("iss", issuer)][..], 6, "`state` is that of another login"),
        (&[("code", "canary-code"), ("iss", issuer)], 6, "no `state`"),
        (&[("code", "canary-code"), ("state", "STATE"), ("iss", "https://evil.example")], 6, "another server"),
        (&[("code", "canary-code"), ("state", "STATE")], 6, "no `iss`"),
        (
            &[
                ("error", "access_denied"),
                ("error_description", "no\u{1b}[31m\nway"),
                ("state", "STATE"),
                ("iss", issuer),
            ],
            4,
            "access_denied: no[31mway",
        ),
    ] {
        let (running, conversation, address) = begin(&endpoint, &cli, &[], "");
        let asked = query(&address);
        let answer: Vec<_> =
            answer.iter().map(|&(name, value)| (name, value.replace("STATE", &asked["state"]))).collect();
        let answer: Vec<_> = answer.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert!(come_back(&asked, &answer).starts_with("HTTP/1.1 200"));
        running.finish().expect(code).without_stdout();
        let said = conversation.rest();
        assert!(said.contains(expected), "{expected}: {said}");
        assert_no_secret(&said);
    }
    cli.run(&["status"]).expect(7);
}

#[test]
fn an_id_token_for_another_login_is_not_used() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let (running, conversation, address) = begin(&endpoint, &cli, &[], "");
    let asked = query(&address);
    come_back(&asked, &[("code", "canary-code"), ("state", &asked["state"]), ("iss", &endpoint.url)]);
    let mut answer = tokens(1);
    answer["id_token"] = id_token(&json!({"iss": endpoint.url, "aud": "cli", "nonce": "other", "sub": "42"})).into();
    endpoint.expect("POST", "/token").reply(Answer::json(200, &answer));
    running.finish().expect(6);
    assert!(conversation.rest().contains("`nonce` is that of another login"));
    cli.run(&["status"]).expect(7);
}

#[test]
fn a_login_on_another_device_shows_where_to_go_and_waits() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    // No display, so this is the default.
    let (running, mut conversation) = cli.start_conversation(&login(&endpoint, &[]), "");
    discover(&endpoint);
    let call = endpoint.expect("POST", "/device");
    assert_eq!(call.form(), fields([("client_id", "cli"), ("scope", "openid offline_access")]));
    call.reply(Answer::json(
        200,
        &json!({
            "device_code": "canary-device",
            "user_code": "WDJB-MJHT",
            "verification_uri": "https://id.example/device",
            "verification_uri_complete": "https://id.example/device?user_code=WDJB-MJHT",
            "expires_in": "600",
            "interval": 1,
        }),
    ));
    assert_eq!(conversation.line("https://id"), "https://id.example/device?user_code=WDJB-MJHT");
    assert_eq!(conversation.line("WDJB"), "WDJB-MJHT");
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    for answer in [Answer::error(400, "authorization_pending"), Answer::json(200, &tokens(1))] {
        let call = endpoint.expect("POST", "/token");
        let expected = [("client_id", "cli"), ("device_code", "canary-device"), ("grant_type", grant)];
        assert_eq!(call.form(), fields(expected));
        call.reply(answer);
    }
    running.finish().expect(0).without_stdout();
    assert_no_secret(&conversation.rest());
    assert_eq!(cli.stored()["refresh_token"], "canary-refresh-1");
}

#[test]
fn a_person_who_says_no_elsewhere_ends_the_login() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let running = cli.start(&login(&endpoint, &["--flow", "device"]));
    discover(&endpoint);
    let details =
        json!({"device_code": "canary-device", "user_code": "u", "verification_uri": "https://h", "interval": 1});
    endpoint.expect("POST", "/device").reply(Answer::json(200, &details));
    endpoint.expect("POST", "/token").reply(Answer::error(400, "access_denied"));
    let output = running.finish().expect(4);
    assert!(output.stderr.contains("refused the login: access_denied"), "{}", output.stderr);
}

#[test]
fn a_client_gets_new_tokens_by_asking_again() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    assert_no_secret(&log_in_as_client(&endpoint, &cli).stderr);
    assert_eq!(cli.stored()["version"], 3);
    cli.let_pass(SignedDuration::from_secs(900));

    let running = cli.start(&["get", "/api", "-vv"]);
    let call = endpoint.expect("POST", "/token");
    assert_client_credentials(&call);
    call.reply(Answer::json(200, &json!({"access_token": "canary-access-2", "expires_in": 900})));
    let call = endpoint.expect("GET", "/api");
    assert_eq!(call.bearer(), Some("canary-access-2"));
    call.reply(Answer::new(200, ""));
    assert_no_secret(&running.finish().expect(0).stderr);

    // There is no refresh token, so it is the access token that is revoked.
    let running = cli.start(&["logout"]);
    let call = endpoint.expect("POST", "/revoke");
    assert_eq!(call.form(), fields([("token", "canary-access-2"), ("token_type_hint", "access_token")]));
    assert!(call.header("authorization").is_some());
    call.reply(Answer::new(200, ""));
    running.finish().expect(0);
}

#[test]
fn a_client_that_is_refused_new_tokens_keeps_what_it_has() {
    let endpoint = Endpoint::start();
    for (status, code, exit) in [(401, "invalid_client", 1), (400, "invalid_grant", 1), (503, "", 6)] {
        let cli = Cli::new(&endpoint.url);
        log_in_as_client(&endpoint, &cli);
        let running = cli.start(&["refresh"]);
        endpoint.expect("POST", "/token").reply(Answer::error(status, code));
        if status == 503 {
            // A new token for the client replaces nothing, so it may be asked for again at once.
            endpoint.expect("POST", "/token").reply(Answer::error(400, "temporarily_unavailable"));
        }
        running.finish().expect(exit).without_stdout();
        assert_eq!(cli.stored()["access_token"], "canary-access-1");
    }
}

#[test]
fn a_secret_goes_into_the_form_where_the_server_wants_it_there() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let more = ["--flow", "client-credentials", "--client-secret-stdin"];
    let running = cli.start_with_input(&login(&endpoint, &more), "canary-secret\n");
    let mut metadata = metadata(&endpoint);
    metadata["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
    endpoint.expect("GET", OPENID).reply(Answer::json(200, &metadata));
    let call = endpoint.expect("POST", "/token");
    let expected = [("client_id", "cli"), ("client_secret", "canary-secret"), ("grant_type", "client_credentials")];
    assert_eq!(call.form(), fields(expected));
    // The server's own words repeat the secret.
    call.reply(Answer::json(401, &json!({"error": "invalid_client", "error_description": "not canary-secret"})));
    let output = running.finish().expect(4);
    assert!(output.stderr.contains("refused the login: invalid_client"), "{}", output.stderr);
    assert_no_secret(&output.stderr);
}

#[test]
fn a_refresh_token_from_elsewhere_is_proven_and_kept() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let running = cli.start_with_input(&login(&endpoint, &["--refresh-token-stdin"]), "canary-refresh-0\n");
    discover(&endpoint);
    let call = endpoint.expect("POST", "/token");
    assert_eq!(call.form()["refresh_token"], "canary-refresh-0");
    // Without a new one, the old one stays good (RFC 6749 section 6).
    call.reply(Answer::json(200, &json!({"access_token": "canary-access-1", "expires_in": 900})));
    assert_no_secret(&running.finish().expect(0).without_stdout().stderr);
    assert_eq!(cli.stored()["refresh_token"], "canary-refresh-0");

    let running = cli.start_with_input(&login(&endpoint, &["--refresh-token-stdin"]), "canary-refresh-x\n");
    discover(&endpoint);
    endpoint.expect("POST", "/token").reply(Answer::error(400, "invalid_grant"));
    running.finish().expect(4);
    assert_eq!(cli.stored()["refresh_token"], "canary-refresh-0");
}

#[test]
fn metadata_is_found_at_either_place() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let more = ["--flow", "client-credentials", "--client-secret-stdin"];
    let running = cli.start_with_input(&login(&endpoint, &more), "canary-secret\n");
    endpoint.expect("GET", OPENID).reply(Answer::new(404, "<html>"));
    let other = endpoint.expect("GET", "/.well-known/oauth-authorization-server");
    other.reply(Answer::json(200, &metadata(&endpoint)));
    endpoint.expect("POST", "/token").reply(Answer::json(200, &tokens(1)));
    running.finish().expect(0);
}

#[test]
fn a_server_that_is_not_the_issuer_gets_nothing() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let running = cli.start(&login(&endpoint, &["--flow", "device"]));
    let mut metadata = metadata(&endpoint);
    metadata["issuer"] = format!("{}/", endpoint.url).into();
    for path in [OPENID, "/.well-known/oauth-authorization-server"] {
        endpoint.expect("GET", path).reply(Answer::json(200, &metadata));
    }
    let output = running.finish().expect(6).without_stdout();
    assert!(output.stderr.contains(&format!("hint: if that is who you mean, pass `--issuer {}/`", endpoint.url)));
}

#[test]
fn what_cannot_be_an_issuer_is_not_connected_to() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    for issuer in ["http://id.example.com", "id.example.com", "https://id.example.com?x=1"] {
        cli.run(&["login", "--issuer", issuer, "--client-id", "cli"]).expect(2).without_stdout();
    }
    cli.run(&["login", "--issuer", &endpoint.url]).expect(2);
    cli.run(&["login", "--client-id", "cli"]).expect(2);
    cli.run(&login(&endpoint, &["--flow", "client-credentials"])).expect(2);
    cli.run(&login(&endpoint, &["-u", "admin"])).expect(2);
    let nowhere = Cli::new("").run(&login(&endpoint, &[])).expect(2);
    assert!(nowhere.stderr.contains("--server URL"), "{}", nowhere.stderr);
    // The only ones are those that ask what the server offers.
    assert!(endpoint.connections() <= 1);
}

#[test]
fn a_refresh_that_may_have_arrived_is_not_sent_again() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    log_in(&endpoint, &cli, 1);
    let running = cli.start(&["refresh"]);
    endpoint.expect("POST", "/token").hang_up();
    running.finish().expect(6);
    assert_eq!(cli.stored()["refresh_token"], "canary-refresh-1");

    // Where the profile says that this is safe, it is.
    let cli = Cli::new(&endpoint.url);
    log_in(&endpoint, &cli, 1);
    let config = cli.configuration().join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let table = "[profiles.default.oauth]\n";
    assert!(text.contains(table), "{text}");
    std::fs::write(&config, text.replace(table, &format!("{table}safe_to_repeat = true\n"))).unwrap();
    let running = cli.start(&["refresh"]);
    let first = endpoint.expect("POST", "/token");
    let key = first.header("idempotency-key").unwrap().to_owned();
    first.hang_up();
    let second = endpoint.expect("POST", "/token");
    assert_eq!(second.header("idempotency-key"), Some(key.as_str()));
    second.reply(Answer::json(200, &tokens(2)));
    running.finish().expect(0);
}

#[test]
fn the_token_is_given_out_as_other_programs_read_it() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    log_in_as_client(&endpoint, &cli);
    let ends = cli.run(&["status", "--json"]).expect(0).json()["access_token_expires_at"].clone();
    assert!(ends.as_str().unwrap().ends_with('Z'), "{ends}");
    let json = cli.run(&["token", "--format", "json"]).expect(0).silent().json();
    let expected = json!({"access_token": "canary-access-1", "token_type": "Bearer", "expires_at": ends});
    assert_eq!(json, expected);
    let credential = cli.run(&["token", "--format", "kubernetes"]).expect(0).silent().json();
    let expected = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "canary-access-1", "expirationTimestamp": ends},
    });
    assert_eq!(credential, expected);
    cli.run(&["token", "--format", "json", "--header"]).expect(2);

    cli.change_stored(|stored| stored["access_lifetime_ms"] = Value::Null);
    let json = cli.run(&["token", "--format", "json"]).expect(0).json();
    assert_eq!(json["expires_at"], Value::Null);
    let credential = cli.run(&["token", "--format", "kubernetes"]).expect(0).json();
    assert_eq!(credential["status"], json!({"token": "canary-access-1"}));
}
