//! What happens to a session after its login, and at the next.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};
use url::Url;

use super::{assert_no_secret, come_back, discover, fields, log_in, log_in_as_client, login, query, tokens};
use crate::support::{Answer, Cli, Endpoint};

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

#[test]
fn what_a_profile_says_of_one_provider_says_nothing_of_the_next() {
    let (first, second) = (Endpoint::start(), Endpoint::start());
    let cli = Cli::new(&first.url);
    log_in(&first, &cli, 1);
    cli.run(&["profile", "set", "oauth.safe_to_repeat", "true"]).expect(0);
    cli.run(&["profile", "set", "oauth.client_authentication", "post"]).expect(0);

    let more = ["--issuer", &second.url, "--client-id", "cli", "--no-browser"];
    let (running, mut conversation) = cli.start_conversation(&[&["login"], &more[..]].concat(), "");
    discover(&second);
    let asked = query(&Url::parse(&conversation.line(&second.url)).unwrap());
    come_back(&asked, &[("code", "canary-code"), ("state", &asked["state"]), ("iss", &second.url)]);
    second.expect("POST", "/token").reply(Answer::json(200, &tokens(2)));
    // The session before is revoked where it was had from.
    first.expect("POST", "/revoke").reply(Answer::new(200, ""));
    running.finish().expect(0);
    let config = std::fs::read_to_string(cli.configuration().join("config.toml")).unwrap();
    assert!(!config.contains("safe_to_repeat") && !config.contains("client_authentication"), "{config}");

    let running = cli.start(&["refresh"]);
    second.expect("POST", "/token").hang_up();
    running.finish().expect(6);
}

#[test]
fn how_a_secret_is_shown_may_be_said_before_the_provider_is() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.configure("[profiles.default.oauth]\nclient_authentication = \"post\"\n");
    let more = ["--flow", "client-credentials", "--client-secret-stdin"];
    let running = cli.start_with_input(&login(&endpoint, &more), "canary-secret\n");
    discover(&endpoint);
    let call = endpoint.expect("POST", "/token");
    assert_eq!(call.form()["client_secret"], "canary-secret");
    call.reply(Answer::json(200, &tokens(1)));
    running.finish().expect(0);
    let config = std::fs::read_to_string(cli.configuration().join("config.toml")).unwrap();
    assert!(config.contains("client_authentication"), "{config}");
}

#[test]
fn a_login_does_not_revoke_the_grant_that_it_took_up_again() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let take_up = |given: &str, answer: &Value| {
        let input = format!("{given}\n");
        let running = cli.start_with_input(&login(&endpoint, &["--refresh-token-stdin"]), &input);
        discover(&endpoint);
        endpoint.expect("POST", "/token").reply(Answer::json(200, answer));
        // Were anything revoked, nobody would answer that, and it would be told.
        let output = running.finish().expect(0);
        assert!(!output.stderr.contains("revoke"), "{}", output.stderr);
    };
    let kept = json!({"access_token": "canary-access-1", "expires_in": 900});
    take_up("canary-refresh-0", &kept);
    // The server kept the refresh token as it is.
    take_up("canary-refresh-0", &kept);
    // It replaced it: one grant all the same, and revoking a spent token ends it.
    take_up("canary-refresh-0", &tokens(1));
    assert!(endpoint.poll(Duration::ZERO).is_none());
    assert_eq!(cli.stored()["refresh_token"], "canary-refresh-1");
}

#[test]
fn a_doctor_looks_after_the_provider_too() {
    let (api, provider) = (Endpoint::start(), Endpoint::start());
    let cli = Cli::new(&api.url);
    log_in_as_client(&provider, &cli);
    let checks = |report: &Value| {
        let checks = report["checks"].as_array().unwrap();
        let named = |name: &str| checks.iter().find(|check| check["check"] == name).unwrap().clone();
        (named("provider"), named("server"))
    };
    let (found, _) = checks(&cli.run(&["doctor", "--json"]).expect(0).json());
    assert!(found["what"].as_str().unwrap().starts_with(&format!("{} answers in", provider.url)), "{found}");

    let address = provider.url.clone();
    drop(provider);
    let (found, server) = checks(&cli.run(&["doctor", "--json"]).expect(6).json());
    assert_eq!((&found["verdict"], &server["verdict"]), (&json!("fail"), &json!("ok")), "{found}");
    assert!(found["what"].as_str().unwrap().contains(&address), "{found}");
}
