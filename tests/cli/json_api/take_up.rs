//! Sessions from elsewhere, taken up by their refresh token.

use serde_json::json;

use super::described;
use crate::support::{Answer, Cli, Endpoint, NOBODY};

const TAKE_UP: [&str; 3] = ["login", "--refresh-token-stdin", "-vv"];

#[test]
fn a_refresh_token_from_elsewhere_is_proven_and_kept() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let take_up = |answer: Answer, exit: i32| {
        let running = cli.start_with_input(&TAKE_UP, "canary-given\n");
        let call = endpoint.expect("POST", "/refresh");
        assert_eq!(call.refresh_token(), "canary-given");
        call.reply(answer);
        let output = running.finish().expect(exit).without_stdout();
        assert!(!output.stderr.contains("canary"), "{}", output.stderr);
        // Of one grant with the session before: nothing is revoked.
        assert!(endpoint.poll(std::time::Duration::ZERO).is_none());
        output
    };
    take_up(Answer::json(200, &json!({"accessToken": "canary-1", "expiresIn": 900})), 0);
    assert_eq!(cli.stored()["refresh_token"], "canary-given");
    take_up(Answer::tokens("canary-2", "canary-3", 900.0), 0);
    assert_eq!(cli.stored()["refresh_token"], "canary-3");

    let refused = take_up(Answer::error(403, "not canary-given"), 4);
    assert!(refused.stderr.contains("refused the login"), "{}", refused.stderr);
    take_up(Answer::new(503, ""), 6);
    take_up(Answer::json(200, &json!({"token": "canary"})), 6);
    assert_eq!(cli.stored()["access_token"], "canary-2");

    let running = cli.start(&["get", "/api"]);
    let call = endpoint.expect("GET", "/api");
    assert_eq!(call.bearer(), Some("canary-2"));
    call.reply(Answer::new(200, ""));
    running.finish().expect(0);
}

#[test]
fn it_is_redeemed_as_the_profile_says() {
    let (endpoint, cli) = described(
        "[profiles.default.api.refresh]\nmethod = \"PUT\"\npath = \"/session\"\ntoken = \"header:X-Refresh\"\n\
         [profiles.default.api.answer]\naccess_token = \"/t\"\nrefresh_token = \"/r\"\n",
    );
    let running = cli.start_with_input(&TAKE_UP, "given\n");
    let call = endpoint.expect("PUT", "/session");
    assert_eq!(call.header("x-refresh"), Some("given"));
    call.reply(Answer::json(200, &json!({"t": "access"})));
    running.finish().expect(0);
    assert_eq!(cli.stored()["refresh_token"], "given");
}

#[test]
fn what_cannot_be_taken_up_is_told_before_anything_is_sent() {
    let (endpoint, cli) = described("[profiles.default.api.refresh]\naccess_token = \"/old\"\n");
    let output = cli.run_with_input(&TAKE_UP, "given\n").expect(2);
    assert!(output.stderr.contains("wants the access token, too"), "{}", output.stderr);
    let plain = Cli::new(&endpoint.url);
    plain.run_with_input(&TAKE_UP, "\n").expect(2);
    assert!(endpoint.poll(std::time::Duration::ZERO).is_none());
    Cli::new(NOBODY).run_with_input(&TAKE_UP, "given\n").expect(6);
}
