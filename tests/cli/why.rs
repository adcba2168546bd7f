//! Somebody who is refused can tell why: the token had expired, the session was revoked, the right is lacking, or the token
//! is another server's.

use insta::assert_snapshot;

use crate::support::{Answer, Cli, Endpoint, Server};

/// {"alg":"none"} . {"iss":"https://issuer.example","aud":"https://api.example","sub":"7","scope":"read","exp":4102444800}
const JWT: &str = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwiYXVkIjoiaHR0cHM6Ly9hcGkuZXhhbXBsZSIsInN1YiI6IjciLCJzY29wZSI6InJlYWQiLCJleHAiOjQxMDI0NDQ4MDB9.c2ln";

fn logged_in(expires_in: f64) -> (Endpoint, Cli) {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, JWT, "refresh-1", expires_in);
    (endpoint, cli)
}

fn refusal(challenge: &str) -> Answer {
    Answer::error(403, "no").with("WWW-Authenticate", challenge)
}

#[test]
fn a_right_that_is_lacking_is_told_with_the_scope_and_costs_no_refresh() {
    let (endpoint, cli) = logged_in(900.0);
    let get = cli.start(&["get", "/x"]);
    let challenge = "Bearer error=\"insufficient_scope\", error_description=\"admins only\", scope=\"admin\"";
    endpoint.expect("GET", "/x").reply(refusal(challenge));
    assert_snapshot!(get.finish().expect(4).stderr, @"
    error: GET /x: 403 Forbidden
      caused by: the server says: insufficient_scope: admins only: it asks for scope `admin`
    hint: the server says that the token lacks a scope
    ");
}

#[test]
fn a_fresh_token_that_is_refused_for_its_right_is_told_from_one_that_is_not_taken_at_all() {
    for (challenge, hint) in [
        ("Bearer realm=\"x\"", "hint: refused with a token refreshed just now; the account may lack the right\n"),
        ("Bearer error=\"invalid_token\"", "`authcli status --claims` shows whom it names\n"),
    ] {
        let (endpoint, cli) = logged_in(900.0);
        let get = cli.start(&["get", "/x", "-v"]);
        endpoint.expect("GET", "/x").reply(refusal(challenge));
        endpoint.expect("POST", "/refresh").reply(Answer::tokens(JWT, "refresh-2", 900.0));
        endpoint.expect("GET", "/x").reply(refusal(challenge));
        let ended = get.finish().expect(4);
        assert!(ended.stderr.ends_with(hint), "{}", ended.stderr);
        // -v shows whom the token is for, and that its time is not over.
        assert!(
            ended
                .stderr
                .contains("iss \"https://issuer.example\", aud \"https://api.example\", sub \"7\", scope \"read\"")
        );
        assert!(ended.stderr.contains("the access token is good until "), "{}", ended.stderr);
        assert!(!ended.stderr.contains(JWT), "{}", ended.stderr);
    }
}

#[test]
fn escapes_in_a_servers_words_do_not_reach_the_terminal() {
    let (endpoint, cli) = logged_in(0.001);
    let get = cli.start(&["get", "/x"]);
    endpoint.refuse(endpoint.expect("POST", "/refresh"), Answer::error(403, "no \u{1b}[31mmore\u{7}"));
    let ended = get.finish().expect(7);
    assert_eq!(ended.stderr, "error: the session has ended: no [31mmore\nhint: run `authcli login`\n");
    let status = cli.run(&["status"]).expect(7);
    assert!(!status.stderr.contains('\u{1b}'), "{:?}", status.stderr);
}

#[test]
fn expired_is_no_reason_and_revoked_is_told() {
    let mut server = Server::with_access_ttl("2s");
    let cli = Cli::new(&server.url);
    cli.login();
    // Expired: nobody is told, because it is mended on the way.
    cli.let_pass(jiff::SignedDuration::from_secs(60));
    let get = cli.run(&["get", "/protected", "-v"]).expect(0);
    assert!(get.stderr.contains("> POST /refresh"), "{}", get.stderr);
    // Revoked at the server, while by its lifetime it is good for days.
    let refresh_token = cli.stored()["refresh_token"].as_str().unwrap().to_owned();
    let other = Cli::new(&server.url);
    other.login();
    other.change_stored(|stored| stored["refresh_token"] = refresh_token.clone().into());
    other.run(&["logout"]).expect(0);
    cli.let_pass(jiff::SignedDuration::from_secs(60));
    let refused = cli.run(&["get", "/protected", "-v"]).expect(7);
    assert!(refused.stderr.contains("by its lifetime the refresh token was good until"), "{}", refused.stderr);
    assert!(
        refused.stderr.ends_with("error: the session has ended: Invalid refresh token\nhint: run `authcli login`\n")
    );
    server.stop();
}

#[test]
fn what_the_token_says_of_itself_is_shown_and_never_the_token() {
    let (_endpoint, cli) = logged_in(900.0);
    let status = cli.run(&["status", "--claims"]).expect(0).silent();
    let claims = status.text().split_once("\n\n").unwrap().1;
    let claims: Vec<_> = claims.lines().filter(|line| !line.starts_with("exp ")).collect();
    assert_snapshot!(claims.join("\n"), @"
    What the access token says of itself (not verified):
    aud    https://api.example
    iss    https://issuer.example
    scope  read
    sub    7
    ");
    assert!(status.text().contains("exp    ends in "), "{}", status.text());
    let json = cli.run(&["status", "--claims", "--json"]).expect(0).json();
    assert_eq!(json["claims"]["iss"], "https://issuer.example");
    assert!(cli.run(&["status", "--json"]).expect(0).json().get("claims").is_none());
    assert!(!status.text().contains("eyJ"), "{}", status.text());

    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "opaque-canary", "refresh-1", 900.0);
    let status = cli.run(&["status", "--claims"]).expect(0);
    assert!(status.text().ends_with("\nThe access token is no JWT: only its server knows what it says\n"));
    assert!(cli.run(&["status", "--claims", "--json"]).expect(0).json()["claims"].is_null());
}
