//! oauth2-mock-server, whose hooks spoil the answers: none of them loses a session that is alive.

use serde_json::{Value, json};

use crate::support::{Cli, Peer, script_path};

/// A provider, and a user who has logged in there.
fn logged_in() -> (Peer, Cli) {
    let provider = Peer::start(&["mock-provider.mjs"], &[]);
    let cli = Cli::new(&provider.url).with("BROWSER", &format!("node {}", script_path("sign-in.mjs")));
    cli.run(&["login", "--issuer", &provider.url, "--client-id", "cli", "--scope", "openid"]).expect(0);
    (provider, cli)
}

fn spoil(provider: &Peer, answer: &Value) {
    provider.ask("PUT", "/__next", answer);
}

/// Returns the tokens that are stored, as text.
fn tokens(cli: &Cli) -> (String, String) {
    let stored = cli.stored();
    let text = |name: &str| stored[name].as_str().unwrap().to_owned();
    (text("access_token"), text("refresh_token"))
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn tokens_are_taken_however_they_come() {
    let (provider, cli) = logged_in();
    for (fields, has_refresh_token, lifetime) in [
        (json!({"token_type": "bEARER", "expires_in": "120"}), true, json!(120_000)),
        (json!({"token_type": null, "expires_in": 1e30}), true, json!(3_162_240_000_000_u64)),
        (json!({"refresh_token": null, "access_token": "opaque", "expires_in": null}), false, Value::Null),
        (json!({"refresh_token": "", "access_token": "opaque", "expires_in": -1}), false, Value::Null),
        (json!({"scope": "other than asked", "access_token": "opaque", "expires_in": "soon"}), true, Value::Null),
        (json!({"id_token": "none of ours", "token_type": "something else", "expires_in": 0.5}), true, json!(500)),
    ] {
        let refresh = tokens(&cli).1;
        spoil(&provider, &json!({"fields": fields}));
        cli.run(&["refresh"]).expect(0);
        assert_eq!(tokens(&cli).1 != refresh, has_refresh_token, "{fields}");
        assert_eq!(cli.stored()["access_lifetime_ms"], lifetime, "{fields}");
    }
    // One that comes back unchanged is as good as a new one.
    let (_, refresh) = tokens(&cli);
    spoil(&provider, &json!({"fields": {"refresh_token": refresh}}));
    cli.run(&["refresh"]).expect(0);
    assert_eq!(tokens(&cli).1, refresh);
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn no_answer_but_invalid_grant_ends_a_session() {
    let (provider, cli) = logged_in();
    let html = "<html>invalid_grant</html>";
    for (answer, exit, said) in [
        (json!({"status": 400, "fields": {"error": "invalid_client"}}), 1, "invalid_client"),
        (json!({"status": 401, "fields": {"error": "unauthorized_client"}}), 1, "unauthorized_client"),
        (
            json!({"status": 403, "fields": {"error": "invalid_request", "error_description": "no\u{1b}[2J\u{7}"}}),
            1,
            "no[2J",
        ),
        (json!({"status": 400, "fields": {"error": "temporarily_unavailable"}}), 6, "temporarily_unavailable"),
        (json!({"status": 400, "text": html}), 6, "400 Bad Request"),
        (json!({"status": 401, "text": html}), 6, "401 Unauthorized"),
        (json!({"status": 403, "text": html}), 6, "403 Forbidden"),
        (json!({"status": 200, "text": html}), 6, "not JSON"),
        (json!({"fields": {"access_token": null}}), 6, "access_token"),
        (json!({"status": 500, "fields": {"error": "invalid_grant"}}), 6, "500 Internal Server Error"),
        (json!({"status": 503, "fields": {}, "headers": {"Retry-After": "60"}}), 6, "503 Service Unavailable"),
        (json!({"status": 302, "fields": {}, "headers": {"Location": "/elsewhere"}}), 6, "302 Found"),
    ] {
        let before = tokens(&cli);
        forget_failures(&cli);
        spoil(&provider, &answer);
        let output = cli.run(&["refresh"]).expect(exit).without_stdout();
        assert!(output.stderr.contains(said), "{said}: {}", output.stderr);
        assert!(!output.stderr.contains(['\u{1b}', '\u{7}']), "{}", output.stderr);
        assert_eq!(tokens(&cli), before, "{answer}");
        // The token is alive, so work goes on.
        let api = cli.run(&["get", "/api"]).expect(0).json();
        assert_eq!(api["authorization"], format!("Bearer {}", before.0));
    }
    forget_failures(&cli);
    spoil(&provider, &json!({"status": 400, "fields": {"error": "invalid_grant", "error_description": "gone"}}));
    let output = cli.run(&["refresh"]).expect(7);
    assert!(output.stderr.contains("the session has ended: invalid_grant: gone"), "{}", output.stderr);
    cli.run(&["get", "/api"]).expect(7);
}

/// A failure answers for all who ask within the next second. Here the next one asks something else.
fn forget_failures(cli: &Cli) {
    let stamp = cli.entry().with_extension("stamp");
    if stamp.exists() {
        std::fs::remove_file(stamp).unwrap();
    }
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn a_login_takes_no_tokens_that_it_could_not_use() {
    let provider = Peer::start(&["mock-provider.mjs"], &[]);
    let cli = Cli::new(&provider.url).with("BROWSER", &format!("node {}", script_path("sign-in.mjs")));
    let login = ["login", "--issuer", &provider.url, "--client-id", "cli", "--scope", "openid"];
    for (answer, exit, said) in [
        (json!({"fields": {"token_type": "DPoP"}}), 1, "tokens of type `DPoP`"),
        (json!({"fields": {"id_token": "garbage"}}), 6, "cannot be read"),
        (json!({"fields": {"access_token": "two words"}}), 6, "no header can carry"),
        (json!({"status": 400, "fields": {"error": "invalid_grant"}}), 4, "invalid_grant"),
        (json!({"status": 400, "text": "<html>"}), 6, "400 Bad Request"),
    ] {
        spoil(&provider, &answer);
        let output = cli.run(&login).expect(exit).without_stdout();
        assert!(output.stderr.contains(said), "{said}: {}", output.stderr);
        cli.run(&["status"]).expect(7);
    }
    // Without a refresh token it says what that means.
    spoil(&provider, &json!({"fields": {"refresh_token": null}}));
    let output = cli.run(&login).expect(0);
    assert!(output.stderr.contains("the provider gave no refresh token"), "{}", output.stderr);
    cli.run(&["get", "/api"]).expect(0);
}
