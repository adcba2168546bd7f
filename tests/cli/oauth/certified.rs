//! node-oidc-provider: a certified OpenID provider, whose refresh tokens rotate strictly: one that comes twice ends the
//! session for all who share it. People sign in on its own pages.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Cli, Output, Peer, Running, node, script_path};

/// A provider whose access tokens live so long, and a user of its API.
fn provider(access_ttl: u64) -> (Peer, Cli) {
    let provider = Peer::start(&["oidc-provider.mjs"], &[("ACCESS_TTL", &access_ttl.to_string())]);
    let cli = Cli::new(&provider.url);
    (provider, cli)
}

fn login<'a>(provider: &'a Peer, client: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["login", "-v", "--issuer", &provider.url, "--client-id", client], more].concat()
}

/// The user with a browser that signs in by itself.
fn with_browser(cli: Cli, script: &str) -> Cli {
    cli.with("BROWSER", &format!("node {}", script_path(script)))
}

/// Logs in as a browser without scripts does.
fn log_in(provider: &Peer, cli: Cli) -> Cli {
    let cli = with_browser(cli, "sign-in.mjs");
    let output = cli.run(&login(provider, "cli", &[])).expect(0).without_stdout();
    assert!(output.stderr.contains(" as ann; tokens are in the file store"), "{}", output.stderr);
    cli
}

#[track_caller]
fn assert_works(cli: &Cli, who: &str) {
    assert_eq!(cli.run(&["get", "/api"]).expect(0).silent().json(), json!({"sub": who}));
}

/// Sleeps until the provider, too, calls a token that it has just issued expired: it is a foreign clock that has to move on.
fn wait_for_expiry(access_ttl: u64) {
    std::thread::sleep(Duration::from_secs(access_ttl) + Duration::from_millis(100));
}

#[track_caller]
fn refused(provider: &Peer) -> Value {
    provider.counts()["refused"].clone()
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn twelve_processes_and_a_burst_across_an_expiry_keep_the_session() {
    const TTL: u64 = 8;
    let (provider, cli) = provider(TTL);
    let cli = log_in(&provider, cli);
    assert_works(&cli, "ann");
    wait_for_expiry(TTL);
    let processes: Vec<Running> = (0..12).map(|_| cli.start(&["get", "/api"])).collect();
    for process in processes {
        process.finish().expect(0).silent();
    }
    assert_eq!(refused(&provider), 0, "{}", provider.counts());

    wait_for_expiry(TTL);
    let report = cli.run(&["burst", "-n", "200", "-c", "20", "/api", "--json"]).expect(0).json();
    assert_eq!((&report["succeeded"], &report["failed"]), (&json!(200), &json!(0)), "{report}");
    assert!(report["refreshes"].as_u64() >= Some(1), "{report}");
    assert_eq!(refused(&provider), 0, "{}", provider.counts());
    // What was rotated last is still good.
    cli.run(&["refresh"]).expect(0);
    assert_works(&cli, "ann");
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn a_logout_revokes_the_session_at_the_provider() {
    let (provider, cli) = provider(900);
    let cli = log_in(&provider, cli);
    let stored = cli.stored();
    let refresh_token = format!("{}\n", stored["refresh_token"].as_str().unwrap());
    let output = cli.run(&["logout", "-vv"]).expect(0).without_stdout();
    assert!(!output.stderr.contains(refresh_token.trim()), "{}", output.stderr);
    let taken_up = cli.run_with_input(&login(&provider, "cli", &["--refresh-token-stdin"]), &refresh_token);
    let output = taken_up.expect(4);
    assert!(output.stderr.contains("invalid_grant"), "{}", output.stderr);
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn a_session_that_the_provider_has_ended_is_over() {
    let (provider, cli) = provider(900);
    let cli = log_in(&provider, cli);
    let first = format!("{}\n", cli.stored()["refresh_token"].as_str().unwrap());
    cli.run(&["refresh"]).expect(0);
    // Somebody redeems the token that was replaced, as a thief would.
    let thief = Cli::new(&provider.url);
    thief.run_with_input(&login(&provider, "cli", &["--refresh-token-stdin"]), &first).expect(4);
    let output = cli.run(&["refresh"]).expect(7);
    assert!(output.stderr.contains("the session has ended: invalid_grant"), "{}", output.stderr);
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn a_person_signs_in_on_another_device() {
    let (provider, cli) = provider(900);
    let (running, mut conversation) = cli.start_conversation(&login(&provider, "cli", &["--flow", "device"]), "");
    let address = conversation.line(&provider.url);
    assert!(address.contains("user_code="), "{address}");
    Running::start(node(&["sign-in.mjs", &address])).finish().expect(0);
    running.finish().expect(0).without_stdout();
    conversation.rest();
    assert_works(&cli, "ann");
    cli.run(&["refresh"]).expect(0);
    assert_works(&cli, "ann");
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn a_service_logs_in_as_itself() {
    const TTL: u64 = 3;
    let (provider, first) = provider(TTL);
    let second = Cli::new(&provider.url);
    for (client, cli) in [("basic", &first), ("post", &second)] {
        let more = ["--flow", "client-credentials", "--client-secret-stdin"];
        let log_in = |secret: &str| -> Output { cli.run_with_input(&login(&provider, client, &more), secret) };
        let output = log_in("wrong\n").expect(4);
        assert!(output.stderr.contains("invalid_client"), "{}", output.stderr);
        if client == "post" {
            // The provider takes both ways, and this client only the other: the profile says so.
            let config = cli.configuration().join("config.toml");
            std::fs::create_dir_all(cli.configuration()).unwrap();
            let issuer = format!("issuer = \"{}\"", provider.url);
            let text =
                format!("[profiles.default.oauth]\n{issuer}\nclient_id = \"post\"\nclient_authentication = \"post\"\n");
            std::fs::write(config, text).unwrap();
        }
        let output = log_in("a secret with % and :\n").expect(0).without_stdout();
        assert!(!output.stderr.contains("a secret with"), "{}", output.stderr);
        assert_works(cli, client);
    }
    wait_for_expiry(TTL);
    let report = first.run(&["burst", "-n", "50", "/api", "--json"]).expect(0).json();
    assert_eq!((&report["succeeded"], &report["failed"]), (&json!(50), &json!(0)), "{report}");
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn a_person_who_goes_back_to_the_application_is_not_logged_in() {
    let (provider, cli) = provider(900);
    let cli = with_browser(cli, "sign-in.mjs").with("DENY", "1");
    let output = cli.run(&login(&provider, "cli", &[])).expect(4).without_stdout();
    assert!(output.stderr.contains("refused the login: access_denied"), "{}", output.stderr);
    cli.run(&["status"]).expect(7);
}

#[test]
#[ignore = "needs Chromium, Node.js and `npm ci` in tests/peers: run `make test`"]
fn a_person_signs_in_with_a_real_browser() {
    let (provider, cli) = provider(900);
    let report = cli.path("report.json");
    let cli = with_browser(cli, "chromium.mjs").with("REPORT", report.to_str().unwrap());
    let running = cli.start(&login(&provider, "cli", &["--redirect-uri", "http://localhost/done"]));
    // A browser takes a while to start on a busy machine.
    let pause = || std::thread::sleep(Duration::from_millis(20));
    running.finish_within(Duration::from_mins(2), pause).expect(0).without_stdout();
    assert_works(&cli, "ann");
    // The browser writes its report when the page has been shown, which may be after the login is done.
    crate::support::eventually("the browser's report", || report.exists());
    let shown: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert!(shown["address"].as_str().unwrap().starts_with("http://localhost:"), "{shown}");
    assert!(shown["text"].as_str().unwrap().contains("You may close this page"), "{shown}");
}
