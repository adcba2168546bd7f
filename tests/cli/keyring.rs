//! The main path on a real Secret Service.

use insta::assert_snapshot;

use crate::support::{SecretService, Server};

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
    elsewhere.run(&["get", "/protected"]).expect(8);
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
