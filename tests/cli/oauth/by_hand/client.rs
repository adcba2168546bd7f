//! Logins of a client as itself.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;

use super::{OPENID, assert_client_credentials, assert_no_secret, fields, log_in_as_client, login, metadata};
use crate::support::{Answer, Cli, Endpoint};

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
fn a_login_does_not_revoke_the_token_that_it_was_given_again() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    // Some servers give a client the same token for as long as it lives.
    for _ in 0..2 {
        assert_no_secret(&log_in_as_client(&endpoint, &cli).stderr);
        assert!(endpoint.poll(Duration::ZERO).is_none());
    }
}
