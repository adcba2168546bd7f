//! The main path on a real Secret Service, and what happens when that is frozen, locked or gone.

use std::time::{Duration, Instant};

use insta::{allow_duplicates, assert_snapshot};

use crate::support::{Answer, Cli, Endpoint, Running, SecretService, Server};

const LOGIN: [&str; 4] = ["login", "-u", "admin", "--password-stdin"];

#[test]
#[ignore = "needs gnome-keyring and dbus: run `make test`"]
fn a_session_from_login_to_logout() {
    let (keyring, mut server) = (SecretService::start(), Server::with_access_ttl("1ms"));
    let cli = keyring.user(&server.url);
    let login = cli.run_with_input(&LOGIN, "123456\n").expect(0).without_stdout();
    assert_snapshot!(cli.settled(&login.stderr), @"Logged in to [server] as admin; tokens are in the keyring store");
    let status = cli.run(&["status", "--json"]).expect(0).json();
    assert_eq!((&status["store"], &status["username"]), (&"keyring".into(), &"admin".into()));

    let found = keyring.search();
    assert_eq!(found.matches("label = ").count(), 1, "one entry, and none of the check of the store: {found}");
    assert!(found.contains(&format!("label = authcli: admin at {}\n", server.url)), "{found}");
    assert!(found.contains("attribute.service = authcli\n"), "{found}");
    assert!(!cli.entry().exists(), "nothing of it is in a file");
    assert!(!cli.everything().contains("eyJ"), "{}", cli.everything());

    server.restart("15m");
    let summary = cli.run(&["burst", "-n", "100", "--json"]).expect(0).silent().json();
    assert_eq!((&summary["succeeded"], &summary["refreshes"]), (&100.into(), &1.into()));
    assert_eq!(cli.run(&["get", "/protected"]).expect(0).silent().json()["userId"], 1);
    cli.run(&["refresh"]).expect(0);
    cli.run(&["token"]).expect(0);
    assert_eq!(server.refreshes(), 2);
    assert_eq!(keyring.search().matches("label = ").count(), 1);

    cli.run(&["logout"]).expect(0);
    assert!(!keyring.search().contains("label = "), "{}", keyring.search());
    cli.run(&["status"]).expect(7);
    cli.run(&["get", "/protected"]).expect(7);

    cli.run_with_input(&LOGIN, "123456\n").expect(0);
    cli.run(&["get", "/protected"]).expect(0);
    // A login over a login leaves one entry as well.
    cli.run_with_input(&LOGIN, "123456\n").expect(0);
    assert_eq!(keyring.search().matches("label = ").count(), 1);
    cli.run(&["get", "/protected"]).expect(0);
}

#[test]
#[ignore = "needs gnome-keyring and dbus: run `make test`"]
fn sixteen_processes_on_an_expired_token_cost_one_refresh() {
    let (keyring, mut server) = (SecretService::start(), Server::with_access_ttl("1ms"));
    let cli = keyring.user(&server.url);
    cli.run_with_input(&LOGIN, "123456\n").expect(0);
    server.restart("15m");
    let processes: Vec<_> = (0..16).map(|_| cli.start(&["get", "/protected"])).collect();
    for process in processes {
        process.finish().expect(0).silent();
    }
    assert_eq!(server.refreshes(), 1);
}

#[test]
#[ignore = "needs gnome-keyring and dbus: run `make test`"]
fn a_keyring_that_goes_away_is_no_logout() {
    let (keyring, server) = (SecretService::start(), Server::start());
    let cli = keyring.user(&server.url);
    cli.run_with_input(&LOGIN, "123456\n").expect(0);
    drop(keyring);
    for arguments in [["get", "/protected"].as_slice(), &["status"], &["token"], &["logout"]] {
        let refused = cli.run(arguments).expect(8).without_stdout();
        assert!(refused.stderr.starts_with("error: the OS keyring is not available\n"), "{}", refused.stderr);
        assert!(refused.stderr.contains("`--store file`"), "{}", refused.stderr);
    }
}

#[test]
#[ignore = "needs gnome-keyring and dbus: run `make test`"]
fn a_keyring_without_the_entry_is_no_logout() {
    let server = Server::start();
    let (first, second) = (SecretService::start(), SecretService::start());
    let cli = first.user(&server.url);
    cli.run_with_input(&LOGIN, "123456\n").expect(0);
    // The same profile on another keyring: nobody logged out, and nothing says so.
    let elsewhere = second.user(&server.url);
    std::fs::rename(cli.configuration(), elsewhere.configuration()).unwrap();
    for arguments in [["get", "/protected"].as_slice(), &["status"], &["logout"], &["logout", "--all"]] {
        elsewhere.run(arguments).expect(8);
    }
    elsewhere.run_with_input(&LOGIN, "123456\n").expect(0);
    elsewhere.run(&["get", "/protected"]).expect(0);
}

#[test]
#[ignore = "needs gnome-keyring and dbus: run `make test`"]
fn a_login_moves_the_tokens_to_the_store_asked_for() {
    let (keyring, server) = (SecretService::start(), Server::start());
    let cli = keyring.user(&server.url);
    cli.run_with_input(&LOGIN, "123456\n").expect(0);
    let refused = cli.run(&["status", "--store", "file"]).expect(2);
    assert_snapshot!(refused.stderr, @"
    error: profile `default` keeps its tokens in the keyring store, not file
    hint: to move them, run `authcli login --store file`
    ");
    // The pin beats the environment.
    let cli = cli.with("AUTHCLI_STORE", "file");
    assert_eq!(cli.run(&["status", "--json"]).expect(0).json()["store"], "keyring");

    cli.run_with_input(&["login", "-u", "admin", "--password-stdin", "--store", "file"], "123456\n").expect(0);
    assert!(cli.entry().exists());
    assert!(!keyring.search().contains("label = "), "{}", keyring.search());
    cli.run(&["get", "/protected"]).expect(0);
    assert_eq!(server.logouts(), 1, "the session in the keyring was revoked");

    cli.run_with_input(&["login", "-u", "admin", "--password-stdin", "--store", "keyring"], "123456\n").expect(0);
    assert!(!cli.entry().exists());
    assert_eq!(keyring.search().matches("label = ").count(), 1);
    cli.run(&["get", "/protected"]).expect(0);
}

/// Whoever waits for a keyring waits no longer than this, whatever the command.
const LONGEST: Duration = Duration::from_secs(10);

/// Starts every command that uses a login.
fn every_command(cli: &Cli) -> impl Iterator<Item = Running> {
    let login = std::iter::once_with(|| cli.start_with_input(&LOGIN, "123456\n"));
    COMMANDS.iter().map(|arguments| cli.start(arguments)).chain(login)
}

/// Asserts that a command ends with exit code 8, what it says and a hint, and in time since `start`.
#[track_caller]
fn assert_fails_in_time(process: Running, start: Instant, expected: &str) {
    let refused = process.finish().expect(8).without_stdout();
    assert!(start.elapsed() < LONGEST, "{:?}: {}", start.elapsed(), refused.stderr);
    assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    let hint = refused.stderr.lines().last().unwrap();
    allow_duplicates! {
        assert_snapshot!(hint, @"hint: unlock the keyring, or log in with `--store file` to keep tokens in a private file");
    }
}

const COMMANDS: [&[&str]; 7] = [
    &["get", "/protected"],
    &["token"],
    &["status"],
    &["refresh"],
    &["logout"],
    &["logout", "--all"],
    &["burst", "-n", "20", "--json"],
];

#[test]
#[ignore = "needs gnome-keyring and dbus: run `make test`"]
fn a_frozen_keyring_is_told_in_time_and_costs_nothing() {
    let (keyring, server) = (SecretService::start(), Server::start());
    let cli = keyring.user(&server.url);
    cli.run_with_input(&LOGIN, "123456\n").expect(0);
    let before = cli.everything();
    keyring.freeze();
    let start = Instant::now();
    // All at once: each waits for itself.
    for process in every_command(&cli).collect::<Vec<_>>() {
        assert_fails_in_time(process, start, "the OS keyring did not answer within ");
    }
    assert_eq!(cli.everything(), before, "nothing is changed, nothing is kept in a file instead");
    keyring.thaw();
    assert_eq!((server.refreshes(), server.logouts()), (0, 0));
    cli.run(&["get", "/protected"]).expect(0).silent();
    cli.run(&["refresh"]).expect(0);
    // The check of the store that a login made may have left its entry; the session's own is one.
    assert_eq!(keyring.search().matches(&format!("label = authcli: admin at {}", server.url)).count(), 1);
}

#[test]
#[ignore = "needs gnome-keyring and dbus: run `make test`"]
fn a_locked_keyring_is_no_logout() {
    let (mut keyring, server) = (SecretService::start(), Server::start());
    let cli = keyring.user(&server.url);
    cli.run_with_input(&LOGIN, "123456\n").expect(0);
    let before = cli.everything();
    keyring.lock();
    for process in every_command(&cli) {
        assert_fails_in_time(process, Instant::now(), "the OS keyring is not available\n");
    }
    assert_eq!(cli.everything(), before, "nothing is changed, nothing is kept in a file instead");
    keyring.unlock();
    assert_eq!((server.refreshes(), server.logouts()), (0, 0));
    cli.run(&["get", "/protected"]).expect(0).silent();
    cli.run(&["refresh"]).expect(0);
}

#[test]
#[ignore = "needs gnome-keyring and dbus: run `make test`"]
fn doctor_tells_a_keyring_that_is_locked_or_does_not_answer() {
    let (keyring, server) = (SecretService::start(), Server::start());
    let cli = keyring.user(&server.url);
    cli.run_with_input(&LOGIN, "123456\n").expect(0);
    let diagnose = |expected: &str| {
        let start = Instant::now();
        let report = cli.run(&["doctor", "--json"]).expect(8).silent().json();
        assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
        let checks = report["checks"].as_array().unwrap();
        let verdicts =
            checks.iter().map(|check| format!("{} {}", check["check"], check["verdict"])).collect::<Vec<_>>();
        allow_duplicates! {
            assert_snapshot!(verdicts.join(", ").replace('"', ""), @"configuration ok, permissions ok, store fail, lock ok, server ok, clock ok");
        }
        let store = checks.iter().find(|check| check["check"] == "store").unwrap();
        assert!(store["what"].as_str().unwrap().contains(expected), "{store}");
        let hint = store["hint"].as_str().unwrap();
        assert!(hint.contains("unlock one") && hint.contains("--store file"), "{hint}");
    };
    keyring.freeze();
    diagnose("the OS keyring did not answer within ");
    keyring.thaw();
    keyring.lock();
    diagnose("the OS keyring is not available");
}

/// The worst moment: the refresh token is spent, and its successor cannot be kept.
#[test]
#[ignore = "needs gnome-keyring and dbus: run `make test`"]
fn a_keyring_that_freezes_while_a_refresh_is_answered_costs_no_session() {
    let (keyring, endpoint) = (SecretService::start(), Endpoint::start());
    let cli = keyring.user(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let refreshing = cli.start(&["refresh"]);
    let refresh = endpoint.expect("POST", "/refresh");
    let attempt = refresh.header("Idempotency-Key").unwrap().to_owned();
    keyring.freeze();
    let start = Instant::now();
    refresh.reply(Answer::tokens("access-2", "refresh-2", 900.0));
    let failed = refreshing.finish().expect(8).without_stdout();
    assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
    assert!(failed.stderr.contains("error: the refreshed tokens could not be saved"), "{}", failed.stderr);
    assert!(failed.stderr.contains("hint: "), "{}", failed.stderr);

    keyring.thaw();
    let get = cli.start(&["get", "/x"]);
    let mut call = endpoint.next();
    // The write may have come late, after its process; then there is nothing to repeat.
    if call.path == "/refresh" {
        assert_eq!((call.refresh_token().as_str(), call.header("Idempotency-Key")), ("refresh-1", Some(&*attempt)));
        call.reply(Answer::tokens("access-2", "refresh-2", 900.0));
        call = endpoint.next();
    }
    assert_eq!((call.path.as_str(), call.bearer()), ("/x", Some("access-2")));
    call.reply(Answer::new(200, ""));
    get.finish().expect(0).silent();
    assert_eq!(cli.run(&["token"]).expect(0).silent().text(), "access-2\n");
}

#[test]
#[ignore = "needs gnome-keyring and dbus: run `make test`"]
fn a_keyring_that_is_locked_while_a_refresh_is_answered_costs_no_session() {
    let (mut keyring, endpoint) = (SecretService::start(), Endpoint::start());
    let cli = keyring.user(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let refreshing = cli.start(&["refresh"]);
    let refresh = endpoint.expect("POST", "/refresh");
    let attempt = refresh.header("Idempotency-Key").unwrap().to_owned();
    keyring.lock();
    refresh.reply(Answer::tokens("access-2", "refresh-2", 900.0));
    let failed = refreshing.finish().expect(8).without_stdout();
    assert!(failed.stderr.contains("error: the refreshed tokens could not be saved"), "{}", failed.stderr);

    keyring.unlock();
    let token = cli.start(&["token"]);
    let repeated = endpoint.expect("POST", "/refresh");
    assert_eq!((&*repeated.refresh_token(), repeated.header("Idempotency-Key")), ("refresh-1", Some(&*attempt)));
    repeated.reply(Answer::tokens("access-2", "refresh-2", 900.0));
    assert_eq!(token.finish().expect(0).silent().text(), "access-2\n");
}

#[test]
#[ignore = "needs gnome-keyring and dbus: run `make test`"]
fn tokens_as_long_as_a_server_may_answer_are_kept() {
    let (keyring, endpoint) = (SecretService::start(), Endpoint::start());
    let cli = keyring.user(&endpoint.url);
    // An answer may be 256 KiB, two tokens and what is around them.
    let long = |mark: &str| mark.repeat(127 * 1024);
    cli.login_at(&endpoint, &long("a"), &long("r"), 0.001);
    let token = cli.start(&["token"]);
    let refresh = endpoint.expect("POST", "/refresh");
    assert!(refresh.refresh_token() == long("r"));
    refresh.reply(Answer::tokens(&long("b"), "refresh-2", 900.0));
    assert!(token.finish().expect(0).silent().text().trim_end() == long("b"));
    assert!(cli.run(&["token"]).expect(0).silent().text().trim_end() == long("b"));
}
