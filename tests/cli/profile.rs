//! Profiles: what is listed, shown, set, chosen and removed, and that no token is ever left behind where nothing names it.

use std::fs;

use insta::assert_snapshot;
use serde_json::json;

use crate::support::{Cli, NOBODY, Server};

const LOGIN: [&str; 4] = ["login", "-u", "admin", "--password-stdin"];

fn configuration(cli: &Cli) -> String {
    fs::read_to_string(cli.configuration().join("config.toml")).unwrap()
}

#[test]
fn a_profile_is_made_shown_chosen_and_removed() {
    let cli = Cli::new(NOBODY).without("AUTHCLI_SERVER").without("AUTHCLI_STORE");
    let empty = cli.run(&["profile", "list"]).expect(0).without_stdout();
    assert_snapshot!(empty.stderr, @"There are no profiles yet; `authcli login` makes one");
    assert_eq!(cli.run(&["profile", "list", "--json"]).expect(0).silent().json(), json!([]));

    let made = cli.run(&["profile", "set", "server", "https://api.example.com/v1", "--profile", "work"]).expect(0);
    assert_snapshot!(made.without_stdout().stderr, @"Made profile `work`");
    cli.run(&["profile", "set", "allow_http", "true", "--profile", "work"]).expect(0).silent();
    assert_snapshot!(cli.run(&["profile", "show", "work"]).expect(0).silent().text(), @"
    profile     work
    server      https://api.example.com/v1
    allow_http  true
    ");
    let shown = cli.run(&["profile", "show", "work", "--json"]).expect(0).silent().json();
    assert_eq!(shown["name"], "work");
    assert_eq!(shown["in_use"], false);
    assert_eq!(shown["allow_http"], true);
    assert!(shown["cacert"].is_null(), "{shown}");

    let chosen = cli.run(&["profile", "use", "work"]).expect(0).without_stdout();
    assert_snapshot!(chosen.stderr, @"Profile `work` is used from now on");
    assert_snapshot!(cli.run(&["profile", "list"]).expect(0).silent().text(), @"* work  https://api.example.com/v1  -  -");
    let listed = cli.run(&["profile", "list", "--json"]).expect(0).json();
    let expected = json!([{"name": "work", "in_use": true, "server": "https://api.example.com/v1", "username": null, "store": null}]);
    assert_eq!(listed, expected);
    assert_eq!(cli.run(&["status", "--json"]).expect(7).json()["profile"], "work");
    assert_eq!(cli.run(&["profile", "show"]).expect(0).text(), cli.run(&["profile", "show", "work"]).expect(0).text());

    cli.run(&["profile", "set", "allow_http", "--unset", "--profile", "work"]).expect(0).silent();
    assert!(!configuration(&cli).contains("allow_http"), "{}", configuration(&cli));
    let removed = cli.run(&["profile", "remove", "work"]).expect(0).without_stdout();
    assert_snapshot!(removed.stderr, @"Removed profile `work`");
    assert_eq!(cli.run(&["profile", "list", "--json"]).expect(0).json(), json!([]));
    assert_eq!(cli.run(&["status", "--json"]).expect(7).json()["profile"], "default", "the choice went with it");
}

#[test]
fn flag_beats_environment_beats_choice() {
    let cli = Cli::new(NOBODY).with("AUTHCLI_PROFILE", "from_environment");
    for name in ["chosen", "from_environment", "flag"] {
        cli.run(&["profile", "set", "allow_http", "false", "--profile", name]).expect(0);
    }
    let warned = cli.run(&["profile", "use", "chosen"]).expect(0);
    assert!(warned.stderr.contains("warning: AUTHCLI_PROFILE is set, and goes before it"), "{}", warned.stderr);
    let profile = |cli: &Cli, arguments: &[&str]| cli.run(arguments).expect(7).json()["profile"].clone();
    assert_eq!(profile(&cli, &["status", "--json", "--profile", "flag"]), "flag");
    assert_eq!(profile(&cli, &["status", "--json"]), "from_environment");
    let cli = cli.without("AUTHCLI_PROFILE");
    assert_eq!(profile(&cli, &["status", "--json"]), "chosen");
    // A hint names the profile only where it must be named.
    assert!(cli.run(&["status"]).expect(7).stderr.ends_with("run `authcli login`\n"));
    let named = cli.run(&["status", "--profile", "flag"]).expect(7);
    assert!(named.stderr.ends_with("run `authcli login --profile flag`\n"), "{}", named.stderr);
    cli.run(&["profile", "use", "default"]).expect(0);
    assert_eq!(profile(&cli, &["status", "--json"]), "default");
}

#[test]
fn what_cannot_be_set_is_told_with_what_was_probably_meant() {
    let cli = Cli::new(NOBODY);
    let said = |arguments: &[&str]| cli.run(arguments).expect(2).without_stdout().stderr;
    assert_snapshot!(said(&["profile", "set", "sevrer", "https://h"]), @"
    error: there is no setting `sevrer`
    hint: did you mean `server`?
    ");
    assert_snapshot!(said(&["profile", "set", "colour", "red"]), @"
    error: there is no setting `colour`
    hint: `authcli profile set --help` lists the settings
    ");
    assert_snapshot!(said(&["profile", "set", "store", "keyrnig"]), @"
    error: `store` must be `keyring` or `file`
    hint: did you mean `keyring`?
    ");
    assert_snapshot!(said(&["profile", "set", "allow_http", "yes"]), @"error: `allow_http` must be `true` or `false`");
    assert_snapshot!(said(&["profile", "set", "username", "anna"]), @"
    error: `username` is noted by a login
    hint: run `authcli login`
    ");
    assert_snapshot!(said(&["profile", "use", "wrok"]), @"
    error: there is no profile `wrok`
    hint: `authcli login --profile wrok` makes it
    ");
    for arguments in [
        ["profile", "set", "server", "ftp://h"].as_slice(),
        &["profile", "set", "server", "https://me:canary4711@h"],
        &["profile", "set", "server"],
        &["profile", "set", "server", "https://h", "--unset"],
        &["profile", "set", "server", "--unset"],
        &["profile", "show", "nobody"],
        &["profile", "remove", "nobody"],
        &["profile"],
        &["profile", "lsit"],
    ] {
        let stderr = said(arguments);
        assert!(!stderr.contains("canary4711"), "{stderr}");
    }
    assert!(!cli.configuration().join("config.toml").exists());
}

#[test]
fn a_path_that_is_typed_is_kept_so_that_it_is_found_from_anywhere() {
    let cli = Cli::new(NOBODY);
    cli.run(&["profile", "set", "cacert", "ca.pem"]).expect(0);
    let shown = cli.run(&["profile", "show", "--json"]).expect(0).json();
    assert_eq!(shown["cacert"], fs::canonicalize(cli.home()).unwrap().join("ca.pem").to_str().unwrap());
}

#[test]
fn accounts_live_side_by_side() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    cli.run_with_input(&["login", "-u", "user2", "--password-stdin", "--profile", "second"], "password2\n").expect(0);
    for (arguments, id) in [(["get", "/protected"].as_slice(), 1), (&["get", "/protected", "--profile", "second"], 2)] {
        assert_eq!(cli.run(arguments).expect(0).json()["userId"], id);
    }
    cli.run(&["logout"]).expect(0);
    assert_eq!(cli.run(&["get", "/protected", "--profile", "second"]).expect(0).json()["userId"], 2);
}

#[test]
fn a_profile_that_is_logged_in_is_removed_only_with_its_session() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let entry = cli.entry();
    let refused = cli.run(&["profile", "remove", "default"]).expect(2).without_stdout();
    assert_snapshot!(refused.stderr, @"
    error: profile `default` is logged in
    hint: run `authcli profile remove default --logout` to revoke the session first
    ");
    cli.run(&["get", "/protected"]).expect(0);
    assert_eq!(server.logouts(), 0);
    let removed = cli.run(&["profile", "remove", "default", "--logout"]).expect(0).without_stdout();
    assert_eq!(cli.settled(&removed.stderr), "Logged out of [server]\nRemoved profile `default`\n");
    assert_eq!(server.logouts(), 1);
    assert!(!entry.exists(), "no token is left behind");
    assert_eq!(cli.run(&["profile", "list", "--json"]).expect(0).json(), json!([]));
    // The next login begins anew.
    cli.login();
    cli.run(&["get", "/protected"]).expect(0);
}

#[test]
fn an_entry_that_cannot_be_read_keeps_its_profile() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    fs::write(cli.entry(), "damaged").unwrap();
    cli.run(&["profile", "remove", "default"]).expect(2);
    cli.run(&["profile", "remove", "default", "--logout"]).expect(0);
}

#[test]
fn the_store_is_pinned_while_tokens_are_in_it() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let refused = cli.run(&["profile", "set", "store", "keyring"]).expect(2);
    assert_snapshot!(refused.stderr, @"
    error: the tokens of profile `default` are in the store that it names
    hint: to move them, run `authcli login --store keyring`
    ");
    cli.run(&["get", "/protected"]).expect(0);
    cli.run(&["logout"]).expect(0);
    cli.run(&["profile", "set", "store", "keyring"]).expect(0);
    // It is what the next login uses, before the environment's.
    cli.run_with_input(&LOGIN, "123456\n").expect(8);
}

#[test]
fn tokens_do_not_follow_a_profile_to_another_server() {
    let server = Server::start();
    let cli = Cli::new(&server.url).without("AUTHCLI_SERVER");
    cli.run_with_input(&[&LOGIN[..], &["--server", &server.url]].concat(), "123456\n").expect(0);
    cli.run(&["profile", "set", "server", NOBODY]).expect(0);
    for arguments in [["get", "/protected"].as_slice(), &["status"], &["token"], &["refresh"], &["burst", "-n", "1"]] {
        let refused = cli.run(arguments).expect(7).without_stdout().stderr;
        assert!(refused.starts_with(&format!("error: not logged in at {NOBODY}; this profile is for ")), "{refused}");
    }
    // Of the same origin, the path is the profile's.
    cli.run(&["profile", "set", "server", &format!("{}/v1", server.url)]).expect(0);
    cli.run(&["get", "/protected"]).expect(4);
    cli.run(&["profile", "set", "server", NOBODY]).expect(0);
    // Whoever wants to be rid of the session need not mend that first.
    cli.run(&["logout"]).expect(0);
    assert_eq!(server.logouts(), 1);
}

#[test]
fn profiles_are_changed_whatever_server_is_asked_for() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    for arguments in [["profile", "list"].as_slice(), &["profile", "show"], &["profile", "set", "allow_http", "false"]]
    {
        cli.run(&[arguments, &["--server", NOBODY]].concat()).expect(0);
    }
}

#[test]
fn the_profiles_authorities_are_read_where_they_are_needed() {
    let cli = Cli::new("https://127.0.0.1:1");
    fs::write(cli.home().join("ca.pem"), "no certificate").unwrap();
    cli.run(&["profile", "set", "cacert", "ca.pem"]).expect(0);
    let refused = cli.run_with_input(&LOGIN, "123456\n").expect(2);
    assert!(
        refused.stderr.contains("ca.pem, which `cacert` of profile `default` names: it holds no certificate"),
        "{}",
        refused.stderr
    );
    // Without TLS nobody asks for them, and a file that is gone can be mended.
    cli.run(&[&LOGIN[..], &["--server", NOBODY]].concat()).expect(6);
    fs::remove_file(cli.home().join("ca.pem")).unwrap();
    let doctor = cli.run(&["doctor"]).expect(2);
    assert!(doctor.text().contains("ca.pem, which `cacert` names"), "{}", doctor.text());
    cli.run(&["profile", "set", "cacert", "--unset"]).expect(0);
    cli.run_with_input(&LOGIN, "123456\n").expect(6);
}
