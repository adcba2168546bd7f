//! From login to logout: status, token, refresh, logout.

use insta::{allow_duplicates, assert_snapshot};
use serde_json::{Value, json};

use crate::support::{Answer, Cli, Endpoint, NOBODY, Server, logged_in};

#[test]
fn a_session_from_login_to_logout() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();

    let get = cli.run(&["get", "/protected"]).expect(0).silent();
    assert_eq!(get.json(), json!({"message": "Protected resource", "userId": 1}));

    let refresh = cli.run(&["refresh"]).expect(0).without_stdout();
    assert_snapshot!(refresh.stderr, @"Refreshed");
    assert_eq!(server.refreshes(), 1);
    cli.run(&["get", "/protected"]).expect(0);
    assert_eq!(server.refreshes(), 1);

    let logout = cli.run(&["logout"]).expect(0).without_stdout();
    assert_snapshot!(cli.settled(&logout.stderr), @"Logged out of [server]");
    assert_eq!(server.logouts(), 1);
    for arguments in [["status"].as_slice(), &["token"], &["refresh"], &["get", "/protected"], &["burst", "-n", "2"]] {
        let refused = cli.run(arguments).expect(7).without_stdout();
        allow_duplicates! {
            assert_snapshot!(refused.stderr, @"
            error: not logged in
            hint: run `authcli login`
            ");
        }
    }
    assert_snapshot!(cli.run(&["logout"]).expect(0).stderr, @"Not logged in: nothing to do");
}

#[test]
fn a_logged_out_session_is_over_at_the_server_too() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let entry = std::fs::read(cli.entry()).unwrap();
    cli.run(&["logout"]).expect(0);
    // Somebody has kept a copy of the store, and takes it to another machine.
    let other = Cli::new(&server.url);
    other.login();
    std::fs::write(other.entry(), entry).unwrap();
    std::fs::remove_file(other.entry().with_extension("stamp")).unwrap();
    other.run(&["refresh"]).expect(7);
}

#[test]
fn status_shows_who_is_logged_in_where() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let status = cli.run(&["status", "--json"]).expect(0).silent().json();
    let Value::Object(fields) = &status else { panic!("{status}") };
    assert_eq!(
        fields.keys().collect::<Vec<_>>(),
        ["access_token_expires_at", "logged_in", "profile", "refresh_token_expires_at", "server", "store", "username"]
    );
    assert_eq!(status["logged_in"], true);
    assert_eq!(status["profile"], "default");
    assert_eq!(status["server"], server.url.as_str());
    assert_eq!(status["store"], "file");
    assert_eq!(status["username"], "admin");
    let time = |name: &str| status[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let life = time("refresh_token_expires_at").duration_since(time("access_token_expires_at"));
    let expected = jiff::SignedDuration::from_hours(7 * 24) - jiff::SignedDuration::from_mins(15);
    assert!((life - expected).abs() <= jiff::SignedDuration::from_secs(1), "{status}");
    // Readers such as jq's `fromdateiso8601` take no fractions.
    assert_eq!(status["access_token_expires_at"].as_str().unwrap().len(), "2026-01-01T00:00:02Z".len());

    let table = cli.run(&["status"]).expect(0).silent();
    let table = table.text();
    let rows: Vec<&str> = table.lines().map(|line| line.split("  ").next().unwrap()).collect();
    assert_eq!(rows, ["profile", "server", "account", "store", "access token", "session"]);
    for value in ["default", &server.url, "admin", "file", "ends in 14 min", "ends in 6 d 23 h"] {
        assert!(table.contains(value), "{value} in {table}");
    }
}

#[test]
fn status_asks_no_server() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access", "refresh", 0.001);
    let before = endpoint.connections();
    let status = cli.run(&["status", "--json"]).expect(0).json();
    assert_eq!(status["refresh_token_expires_at"], Value::Null, "what the server did not say is not known");
    assert!(cli.run(&["status"]).expect(0).text().contains("end unknown"));
    assert_eq!(endpoint.connections(), before);
}

#[test]
fn status_when_logged_out_is_7_and_still_json() {
    let cli = Cli::new(NOBODY);
    let status = cli.run(&["status", "--json"]).expect(7).silent().json();
    assert_eq!(status["logged_in"], false);
    assert_eq!(status["profile"], "default");
    assert_eq!(status["username"], Value::Null);
    assert_snapshot!(cli.run(&["status"]).expect(7).without_stdout().stderr, @"
    error: not logged in
    hint: run `authcli login`
    ");
}

#[test]
fn token_prints_the_bare_token_or_a_header() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let token = cli.run(&["token"]).expect(0).silent();
    let token = token.text().strip_suffix('\n').unwrap();
    assert_eq!(token.split('.').count(), 3, "a JWT");
    assert!(token.bytes().all(|byte| byte.is_ascii_graphic()));
    let header = cli.run(&["token", "--header"]).expect(0).silent();
    assert_eq!(header.text(), format!("Authorization: Bearer {token}\n"));
    assert_eq!(server.refreshes(), 0);
}

#[test]
fn token_is_refreshed_when_it_is_at_its_end() {
    let mut server = Server::with_access_ttl("1ms");
    let cli = Cli::new(&server.url);
    cli.login();
    server.restart("15m");
    let first = cli.run(&["token"]).expect(0).silent();
    assert_eq!(server.refreshes(), 1);
    let second = cli.run(&["token"]).expect(0).silent();
    assert_eq!(first.stdout, second.stdout);
    assert_eq!(server.refreshes(), 1);
}

#[test]
fn token_min_valid_refreshes_once_and_warns_of_short_lives() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 100.0);
    assert_eq!(cli.run(&["token", "--min-valid", "50s"]).expect(0).silent().text(), "access-1\n");

    let token = cli.start(&["token", "--min-valid", "5m"]);
    endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
    assert_eq!(token.finish().expect(0).silent().text(), "access-2\n");

    let token = cli.start(&["token", "--min-valid", "1h"]);
    endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-3", "refresh-3", 900.0));
    let token = token.finish().expect(0);
    assert_eq!(token.text(), "access-3\n");
    assert_snapshot!(token.stderr, @"warning: the server issues tokens that are shorter-lived than asked for");
}

#[test]
fn token_min_valid_is_content_with_a_live_token_when_the_server_is_away() {
    let mut server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let live = cli.run(&["token"]).expect(0);
    server.stop();
    let token = cli.run(&["token", "--min-valid", "1h"]).expect(0);
    assert_eq!(token.stdout, live.stdout);
    assert_snapshot!(cli.settled(&token.stderr), @"warning: the token is shorter-lived than asked for: could not refresh the session: could not connect to [server]: Connection refused (os error N)");
}

#[test]
fn refresh_sends_the_latest_refresh_token_and_a_key_of_its_own_each_time() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    let mut keys = Vec::new();
    for generation in 1..=3 {
        let refresh = cli.start(&["refresh"]);
        let call = endpoint.expect("POST", "/refresh");
        assert_eq!(call.refresh_token(), format!("refresh-{generation}"));
        assert_eq!(call.bearer(), None, "an access token has no business there");
        keys.push(call.header("Idempotency-Key").unwrap().to_owned());
        let next = generation + 1;
        call.reply(Answer::tokens(&format!("access-{next}"), &format!("refresh-{next}"), 900.0));
        refresh.finish().expect(0);
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert!(keys.iter().all(|key| (16..=128).contains(&key.len())), "{keys:?}");
}

#[test]
fn a_refresh_token_that_is_not_replaced_is_kept() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    for _ in 0..2 {
        let refresh = cli.start(&["refresh"]);
        let call = endpoint.expect("POST", "/refresh");
        assert_eq!(call.refresh_token(), "refresh-1");
        call.reply(Answer::json(200, &json!({"accessToken": "access-2", "expiresIn": 900})));
        refresh.finish().expect(0);
    }
}

#[test]
fn logout_forgets_when_the_server_is_away_or_knows_no_logout() {
    let mut server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    server.stop();
    let logout = cli.run(&["logout"]).expect(0).without_stdout();
    assert_snapshot!(cli.settled(&logout.stderr), @"
    warning: the session was not revoked at [server]: could not connect to [server]: Connection refused (os error N)
    Logged out of [server]
    ");
    cli.run(&["status"]).expect(7);

    for status in [404, 405] {
        let endpoint = Endpoint::start();
        let cli = Cli::new(&endpoint.url);
        cli.login_at(&endpoint, "access", "refresh", 900.0);
        let logout = cli.start(&["logout"]);
        endpoint.expect("POST", "/logout").reply(Answer::new(status, "no"));
        allow_duplicates! {
            assert_snapshot!(cli.settled(&logout.finish().expect(0).stderr), @"
            warning: [server] cannot revoke sessions; the tokens are only forgotten here
            Logged out of [server]
            ");
        }
        cli.run(&["status"]).expect(7);
    }
}

#[test]
fn profiles_are_sessions_of_their_own() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let login = ["login", "--profile", "second", "-u", "user2", "--password-stdin"];
    cli.run_with_input(&login, "password2\n").expect(0);
    let user = |arguments: &[&str]| cli.run(arguments).expect(0).json()["userId"].clone();
    assert_eq!(user(&["get", "/protected"]), 1);
    assert_eq!(user(&["get", "/protected", "--profile", "second"]), 2);
    cli.run(&["logout", "--profile", "second"]).expect(0);
    let refused = cli.run(&["get", "/protected", "--profile", "second"]).expect(7);
    assert_snapshot!(refused.stderr, @"
    error: not logged in
    hint: run `authcli login --profile second`
    ");
    assert_eq!(user(&["get", "/protected"]), 1);

    cli.run_with_input(&login, "password2\n").expect(0);
    cli.run(&["logout", "--all"]).expect(0);
    cli.run(&["status"]).expect(7);
    cli.run(&["status", "--profile", "second"]).expect(7);
    assert_snapshot!(cli.run(&["logout", "--all"]).expect(0).stderr, @"Not logged in: nothing to do");
    assert_eq!(server.logouts(), 3);
}

#[test]
fn the_profile_comes_from_the_environment_too() {
    let server = Server::start();
    let cli = Cli::new(&server.url).with("AUTHCLI_PROFILE", "work");
    cli.login();
    assert_eq!(cli.run(&["status", "--json"]).expect(0).json()["profile"], "work");
    cli.run(&["status", "--profile", "default"]).expect(2);
}

#[test]
fn a_hint_names_the_profile_whose_session_has_ended() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url).with("AUTHCLI_PROFILE", "work");
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let get = cli.start(&["get", "/x"]);
    endpoint.refuse_refresh();
    // Also the first time, when the server has just said so.
    for ended in [get.finish(), cli.run(&["get", "/x"])] {
        assert!(ended.expect(7).stderr.ends_with("hint: run `authcli login --profile work`\n"));
    }
}

#[test]
fn a_logout_that_was_cut_short_is_a_logout_and_the_next_one_ends_it() {
    let (endpoint, cli) = logged_in();
    let stamp = cli.entry().with_extension("stamp");
    let mut told: Value = serde_json::from_slice(&std::fs::read(&stamp).unwrap()).unwrap();
    // The word is there, the entry not yet gone.
    told["ended"] = json!({"at": "2026-01-01T00:00:00Z", "how": "logged_out"});
    std::fs::write(&stamp, told.to_string()).unwrap();
    let connections = endpoint.connections();
    for arguments in [["status"].as_slice(), &["token"], &["get", "/x"]] {
        cli.run(arguments).expect(7).without_stdout();
    }
    assert_eq!(endpoint.connections(), connections);
    cli.run(&["logout"]).expect(0);
    assert!(!cli.entry().exists());
    cli.run(&["status"]).expect(7);
    cli.login_at(&endpoint, "access-2", "refresh-2", 900.0);
    assert_eq!(cli.run(&["token"]).expect(0).text(), "access-2\n");
}
