//! Logins on another device.

use serde_json::json;

use super::{assert_no_secret, discover, fields, login, tokens};
use crate::support::{Answer, Cli, Endpoint};

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
fn a_server_that_refuses_with_a_success_is_understood() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let running = cli.start(&login(&endpoint, &["--flow", "device"]));
    discover(&endpoint);
    let details = json!({
        "device_code": "canary-device", "user_code": "u", "interval": 1,
        "verification_uri": "https://h", "verification_url": "https://h",
    });
    endpoint.expect("POST", "/device").reply(Answer::json(200, &details));
    // As GitHub does.
    endpoint.expect("POST", "/token").reply(Answer::error(200, "authorization_pending"));
    endpoint.expect("POST", "/token").reply(Answer::json(200, &tokens(1)));
    running.finish().expect(0);

    let running = cli.start(&["refresh"]);
    endpoint.expect("POST", "/token").reply(Answer::error(200, "incorrect_client_credentials"));
    let output = running.finish().expect(1);
    assert!(output.stderr.contains("incorrect_client_credentials"), "{}", output.stderr);
}
