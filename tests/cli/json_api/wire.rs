//! Every request as it stands on the wire.

use insta::assert_snapshot;
use serde_json::json;

use super::{LOGIN, described, log_in};
use crate::support::{Answer, Call, Cli, Endpoint};

/// What of a call differs from API to API.
#[track_caller]
fn on_the_wire(call: &Call) -> String {
    let names = ["content-type", "authorization", "cookie"];
    let shown = |name: &str| names.contains(&name) || name.starts_with("x-");
    let headers = call.headers.iter().filter(|(name, _)| shown(name)).map(|(name, value)| format!("{name}: {value}\n"));
    let body = String::from_utf8(call.body.clone()).unwrap();
    format!("{} {}\n{}{body}", call.method, call.path, headers.collect::<String>())
}

/// Goes through a session of the API that `api` describes: login, refresh, request, logout. Returns the four calls.
#[track_caller]
fn session(api: &str, login: Answer, refresh: Answer) -> String {
    let (endpoint, cli) = described(api);
    let (login, _) = log_in(&endpoint, &cli, login);
    let get = cli.start(&["get", "/x"]);
    let mut renewed = endpoint.next();
    assert!(renewed.header("Idempotency-Key").is_some_and(|key| key.len() == 43));
    renewed.reply_with(refresh);
    let mut request = endpoint.expect("GET", "/x");
    request.reply_with(Answer::new(200, "fine"));
    get.finish().expect(0).silent();
    let logout = cli.start(&["logout"]);
    let mut ended = endpoint.next();
    ended.reply_with(Answer::new(204, ""));
    logout.finish().expect(0);
    [&login, &renewed, &request, &ended].map(on_the_wire).join("\n---\n")
}

#[test]
fn everything_in_objects_within_objects() {
    let calls = session(
        "
        [profiles.default.api.login]
        path = '/api/v2/sign-in'
        username = '/user/email'
        password = '/user/password'
        fields = { '/client/name' = 'cli', remember = true }
        headers = { X-Api-Key = 'key' }
        [profiles.default.api.refresh]
        method = 'PUT'
        path = '/api/v2/session'
        token = '/session/token'
        headers = { X-Api-Key = 'key' }
        answer.access_token = '/data/token'
        [profiles.default.api.logout]
        method = 'DELETE'
        path = '/api/v2/session'
        token = 'header:Authorization'
        [profiles.default.api.answer]
        access_token = '/data/tokens/0/access'
        refresh_token = '/data/tokens/0/refresh'
        expires_in = '/data/ttl'
        [profiles.default.api.token]
        header = 'X-Access-Token'
        ",
        Answer::json(200, &json!({"data": {"tokens": [{"access": "a1", "refresh": "r1"}], "ttl": 0.001}})),
        Answer::json(200, &json!({"data": {"token": "a2", "ttl": "900"}})),
    );
    assert_snapshot!(calls, @r#"
    POST /api/v2/sign-in
    content-type: application/json
    x-api-key: key
    {"client":{"name":"cli"},"remember":true,"user":{"email":"admin","password":"pass word"}}
    ---
    PUT /api/v2/session
    content-type: application/json
    x-api-key: key
    {"session":{"token":"r1"}}
    ---
    GET /x
    x-access-token: a2

    ---
    DELETE /api/v2/session
    authorization: Bearer r1
    "#);
}

#[test]
fn forms_snake_case_and_another_scheme() {
    let calls = session(
        "
        [profiles.default.api]
        body = 'form'
        token.scheme = 'Token'
        [profiles.default.api.login]
        path = '/token'
        fields = { grant_type = 'password', scope = 'a b' }
        [profiles.default.api.refresh]
        path = '/token'
        token = 'refresh_token'
        fields = { grant_type = 'refresh_token' }
        [profiles.default.api.logout]
        token = 'token'
        access_token = 'header:Authorization'
        [profiles.default.api.answer]
        access_token = '/access_token'
        refresh_token = '/refresh_token'
        expires_in = '/expires_in'
        ",
        Answer::json(200, &json!({"access_token": "a1", "refresh_token": "r1", "expires_in": "0.001"})),
        Answer::json(200, &json!({"access_token": "a2", "refresh_token": "r2", "expires_in": "900"})),
    );
    assert_snapshot!(calls, @r"
    POST /token
    content-type: application/x-www-form-urlencoded
    grant_type=password&password=pass+word&scope=a+b&username=admin
    ---
    POST /token
    content-type: application/x-www-form-urlencoded
    grant_type=refresh_token&refresh_token=r1
    ---
    GET /x
    authorization: Token a2

    ---
    POST /logout
    content-type: application/x-www-form-urlencoded
    authorization: Token a2
    token=r2
    ");
}

#[test]
fn tokens_in_heads_and_cookies() {
    let calls = session(
        "
        [profiles.default.api]
        token = { header = 'Cookie', scheme = 'sid=' }
        refresh = { method = 'GET', token = 'cookie:jid' }
        logout = { token = 'cookie:jid', access_token = 'cookie:sid' }
        [profiles.default.api.answer]
        access_token = 'header:Authorization'
        refresh_token = 'cookie:jid'
        expires_in = 'header:X-Expires-In'
        ",
        Answer::new(204, "")
            .with("Authorization", "Bearer a1")
            .with("Set-Cookie", "theme=dark")
            .with("Set-Cookie", "jid=r1; HttpOnly; Path=/refresh")
            .with("X-Expires-In", "0.001"),
        Answer::new(200, "ok").with("Authorization", "Bearer a2").with("Set-Cookie", "jid=r2; HttpOnly"),
    );
    assert_snapshot!(calls, @r#"
    POST /login
    content-type: application/json
    {"password":"pass word","username":"admin"}
    ---
    GET /refresh
    cookie: jid=r1

    ---
    GET /x
    cookie: sid=a2

    ---
    POST /logout
    cookie: jid=r2; sid=a2
    "#);
}

#[test]
fn both_tokens_in_one_refresh() {
    let calls = session(
        "
        [profiles.default.api.refresh]
        token = 'refreshToken'
        access_token = 'accessToken'
        headers = { Content-Type = 'application/vnd.api+json', Accept = 'application/json' }
        ",
        Answer::tokens("a1", "r1", 0.001),
        Answer::tokens("a2", "r2", 900.0),
    );
    assert_snapshot!(calls, @r#"
    POST /login
    content-type: application/json
    {"password":"pass word","username":"admin"}
    ---
    POST /refresh
    content-type: application/vnd.api+json
    {"accessToken":"a1","refreshToken":"r1"}
    ---
    GET /x
    authorization: Bearer a2

    ---
    POST /logout
    content-type: application/json
    {"refreshToken":"r2"}
    "#);
}

#[test]
fn a_login_that_lies_on_another_server() {
    let (auth, api) = (Endpoint::start(), Endpoint::start());
    let cli = Cli::new(&api.url);
    cli.configure(&format!("[profiles.default]\nserver = '{}'\napi.server = '{}/auth'\n", api.url, auth.url));
    let login = cli.start_with_input(&LOGIN, "password\n");
    auth.expect("POST", "/auth/login").reply(Answer::tokens("a1", "r1", 0.001));
    login.finish().expect(0);
    let get = cli.start(&["get", "/x"]);
    auth.expect("POST", "/auth/refresh").reply(Answer::tokens("a2", "r2", 900.0));
    let call = api.expect("GET", "/x");
    assert_eq!(call.bearer(), Some("a2"));
    call.reply(Answer::new(200, "fine"));
    get.finish().expect(0);
    let logout = cli.start(&["logout"]);
    auth.expect("POST", "/auth/logout").reply(Answer::new(204, ""));
    logout.finish().expect(0);
}

#[test]
fn no_logout_call_is_made_where_there_is_none() {
    let (endpoint, cli) = described("api.logout.enabled = false");
    log_in(&endpoint, &cli, Answer::tokens("a1", "r1", 900.0));
    let logout = cli.run(&["logout"]).expect(0);
    assert_snapshot!(cli.settled(&logout.stderr), @r"
    warning: [server] cannot revoke sessions; the tokens are only forgotten here
    Logged out of [server]
    ");
}

#[test]
fn the_endpoints_are_those_of_the_login_also_when_the_profile_changes() {
    let (endpoint, cli) = described("");
    log_in(&endpoint, &cli, Answer::tokens("a1", "r1", 0.001));
    let text = std::fs::read_to_string(cli.configuration().join("config.toml")).unwrap();
    let elsewhere = "api = { server = 'http://127.0.0.1:1', refresh = { path = '/elsewhere', token = 'rt' } }\n";
    cli.configure(&format!("{}{elsewhere}", text.trim_start_matches("version = 1\n")));
    let refresh = cli.start(&["refresh"]);
    let call = endpoint.expect("POST", "/refresh");
    assert_eq!(call.body, b"{\"rt\":\"r1\"}", "what is sent there is the profile's");
    call.reply(Answer::tokens("a2", "r2", 900.0));
    refresh.finish().expect(0);
}

#[test]
fn token_prints_the_header_that_the_api_takes() {
    let (endpoint, cli) = described("api.token = { header = 'X-Auth-Token' }");
    log_in(&endpoint, &cli, Answer::tokens("a1", "r1", 900.0));
    assert_eq!(cli.run(&["token", "--header"]).expect(0).text(), "x-auth-token: a1\n");
    let refused = cli.run(&["get", "/x", "-H", "X-Auth-Token: mine"]).expect(2);
    assert!(refused.stderr.contains("`x-auth-token` is set by authcli"), "{}", refused.stderr);
    // Another header that authenticates is the user's.
    let get = cli.start(&["get", "/x", "-H", "Authorization: Basic eDp5"]);
    let call = endpoint.expect("GET", "/x");
    assert_eq!((call.header("X-Auth-Token"), call.header("Authorization")), (Some("a1"), Some("Basic eDp5")));
    call.reply(Answer::new(200, ""));
    get.finish().expect(0);
}

#[test]
fn the_sample_of_the_documentation_works_as_it_stands() {
    let page = include_str!("../../../docs/PROVIDERS.md");
    let (_, rest) = page.split_once("```toml\n").unwrap();
    let (sample, _) = rest.split_once("```").unwrap();
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url).without("AUTHCLI_SERVER");
    assert!(sample.contains("\"https://api.example.com/v1\""));
    cli.configure(&sample.replace("https://api.example.com", &endpoint.url));
    let run = |arguments: &[&str]| cli.start(&[&["--profile", "inhouse"], arguments].concat());
    let login = cli.start_with_input(&[&["--profile", "inhouse"], &LOGIN[..]].concat(), "pass word\n");
    let mut calls = vec![endpoint.next()];
    let issued = json!({"data": {"token": "a1", "refresh": "r1", "expires": 0.001, "session_expires": 900}});
    calls[0].reply_with(Answer::json(200, &issued));
    login.finish().expect(0);
    let get = run(&["get", "/x"]);
    calls.push(endpoint.next());
    calls[1].reply_with(Answer::json(200, &json!({"data": {"token": "a2", "refresh": "r2", "expires": 900}})));
    calls.push(endpoint.next());
    calls[2].reply_with(Answer::new(200, "fine"));
    get.finish().expect(0).silent();
    let logout = run(&["logout"]);
    calls.push(endpoint.next());
    calls[3].reply_with(Answer::new(204, ""));
    logout.finish().expect(0);
    // So does the shorter one of the first page.
    let (_, rest) = include_str!("../../../README.md").split_once("```toml\n").unwrap();
    cli.configure(rest.split_once("```").unwrap().0);
    let status = cli.run(&["--profile", "inhouse", "status", "--json"]).expect(7).json();
    assert_eq!(status["server"], "https://api.example.com/v1");
    assert_snapshot!(calls.iter().map(on_the_wire).collect::<Vec<_>>().join("\n---\n"), @r#"
    POST /v1/auth/sign-in
    content-type: application/json
    x-client: authcli
    {"client_id":"cli","user":{"email":"admin","password":"pass word","remember":true}}
    ---
    PUT /v1/auth/session
    content-type: application/json
    x-client: authcli
    x-refresh-token: r1
    {"client_id":"cli","session":{"token":"a1"}}
    ---
    GET /v1/x
    authorization: Token a2

    ---
    DELETE /v1/auth/session
    x-refresh-token: r2
    authorization: Token a2
    "#);
}
