//! Where tokens are kept, and what happens when that is not as it should be.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use insta::{allow_duplicates, assert_snapshot};

use crate::support::{Answer, Cli, Endpoint, NOBODY, Server};

#[test]
fn without_a_keyring_nothing_is_stored_elsewhere_behind_anyones_back() {
    let server = Server::start();
    // Nothing says `file`, and there is no bus at the address in the environment.
    let cli = Cli::new(&server.url).without("AUTHCLI_STORE");
    let refused =
        cli.run_with_input(&["login", "-u", "admin", "--password-stdin"], "123456\n").expect(8).without_stdout();
    assert!(refused.stderr.starts_with("error: the OS keyring is not available\n"), "{}", refused.stderr);
    let hint = refused.stderr.lines().last().unwrap();
    assert_snapshot!(hint, @"hint: unlock the keyring, or log in with `--store file` to keep tokens in a private file");
    assert_eq!(cli.everything(), "", "no token, no profile");
    let login = ["login", "-u", "admin", "--password-stdin", "--store", "file"];
    cli.run_with_input(&login, "123456\n").expect(0);
    cli.run(&["get", "/protected"]).expect(0);
}

#[test]
fn the_store_is_checked_before_anybody_is_asked_anything() {
    let cli = Cli::new(NOBODY).with("AUTHCLI_STORE", "keyring");
    // The server is away too, and no password is there: the store comes first.
    cli.run_with_input(&["login", "-u", "admin", "--password-stdin"], "").expect(8);
    let cli = Cli::new(NOBODY).with("AUTHCLI_STORE", "cloud");
    let refused = cli.run_with_input(&["login", "-u", "admin", "--password-stdin"], "").expect(2);
    assert_snapshot!(refused.stderr, @"error: AUTHCLI_STORE: unknown store `cloud`; there are `keyring` and `file`");
}

#[test]
fn the_store_of_the_login_is_pinned() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let cli = cli.with("AUTHCLI_STORE", "keyring");
    cli.run(&["get", "/protected"]).expect(0);
    assert_eq!(cli.run(&["status", "--json"]).expect(0).json()["store"], "file");
    cli.run(&["status", "--store", "file"]).expect(0);
    for arguments in [["status"].as_slice(), &["get", "/protected"], &["token"], &["refresh"], &["logout"]] {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--store", "keyring"]);
        let refused = cli.run(&arguments).expect(2).without_stdout();
        allow_duplicates! {
            assert_snapshot!(refused.stderr, @"
            error: profile `default` keeps its tokens in the file store, not keyring
            hint: to move them, run `authcli login --store keyring`
            ");
        }
    }
    // A login without a word about the store stays with it too.
    cli.login();
}

#[test]
fn the_file_store_is_for_its_owner_alone() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let check = || {
        assert_eq!(mode(&cli.entry()), 0o600);
        assert_eq!(mode(cli.entry().parent().unwrap()), 0o700);
        assert_eq!(mode(&cli.configuration()), 0o700);
    };
    check();
    cli.run(&["refresh"]).expect(0);
    check();
    let mut names: Vec<_> = fs::read_dir(cli.entry().parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path().extension().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["json", "lock", "stamp"], "nothing temporary is left");
}

/// A user whose entry has been damaged. The server knows the session: nothing but the entry is wrong.
fn damaged(server: &Server, damage: impl FnOnce(&std::path::Path)) -> Cli {
    let cli = Cli::new(&server.url);
    cli.login();
    damage(&cli.entry());
    cli
}

#[test]
fn a_damaged_entry_is_exit_code_8_and_named_without_being_quoted() {
    let server = Server::start();
    for (text, expected) in [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("{\"version\":1,\"session\":\"canary", "it is cut short"),
        ("canary", "it is not JSON"),
        ("{\"version\":1,\"access_token\":\"canary\"}", "a field is missing or of the wrong type"),
        ("[1]", "a field is missing or of the wrong type"),
    ] {
        let cli = damaged(&server, |entry| fs::write(entry, text).unwrap());
        for arguments in
            [["get", "/protected"].as_slice(), &["token"], &["refresh"], &["status"], &["burst", "-n", "2"]]
        {
            let refused = cli.run(arguments).expect(8).without_stdout();
            assert!(refused.stderr.contains(expected), "{text:?}: {}", refused.stderr);
            assert!(refused.stderr.ends_with("hint: run `authcli login` to replace it\n"), "{}", refused.stderr);
            assert!(!refused.stderr.contains("canary"), "{}", refused.stderr);
        }
        assert_eq!(fs::read_to_string(cli.entry()).unwrap(), text, "it is left as it is");
        // What the hint says works.
        cli.login();
        cli.run(&["get", "/protected"]).expect(0);
    }
}

#[test]
fn a_damaged_entry_can_be_logged_out_of() {
    let server = Server::start();
    for arguments in [["logout"].as_slice(), &["logout", "--all"]] {
        let cli = damaged(&server, |entry| fs::write(entry, "canary").unwrap());
        let logout = cli.run(arguments).expect(0).without_stdout();
        allow_duplicates! {
            assert_snapshot!(cli.settled(&logout.stderr), @"
            warning: the session was not revoked at its server: the token entry in [config]/credentials/[id].json is damaged: it is not JSON (line 1, column 1)
            Logged out: the damaged entry is gone
            ");
        }
        assert!(!cli.entry().exists());
        let refused = cli.run(&["status"]).expect(7);
        assert!(refused.stderr.starts_with("error: not logged in\n"), "{}", refused.stderr);
    }
    // What a newer version wrote is not ours to remove.
    let cli = damaged(&server, |entry| fs::write(entry, "{\"version\":99}").unwrap());
    cli.run(&["logout"]).expect(8);
    assert!(cli.entry().exists());
}

#[test]
fn an_entry_of_a_newer_version_is_neither_read_nor_overwritten() {
    let server = Server::start();
    let newer = "{\"version\":99,\"sealed\":true}";
    let cli = damaged(&server, |entry| fs::write(entry, newer).unwrap());
    let refused = cli.run(&["get", "/protected"]).expect(8).without_stdout();
    assert_snapshot!(cli.settled(&refused.stderr), @"
    error: the token entry in [config]/credentials/[id].json is of version 99; this authcli knows versions up to 3
    hint: use the newer authcli
    ");
    cli.run_with_input(&["login", "-u", "admin", "--password-stdin"], "123456\n").expect(8);
    assert_eq!(fs::read_to_string(cli.entry()).unwrap(), newer);
}

#[test]
fn an_entry_that_others_may_read_is_refused() {
    let server = Server::start();
    for mode in [0o644, 0o640, 0o604] {
        let cli = damaged(&server, |entry| fs::set_permissions(entry, PermissionsExt::from_mode(mode)).unwrap());
        let refused = cli.run(&["get", "/protected"]).expect(8).without_stdout();
        assert!(refused.stderr.contains(&format!("mode {mode:03o}")), "{}", refused.stderr);
        assert!(refused.stderr.contains("chmod 600"), "{}", refused.stderr);
    }
}

#[test]
fn an_entry_that_is_a_link_is_refused() {
    let server = Server::start();
    let cli = damaged(&server, |entry| {
        let moved = entry.with_extension("moved");
        fs::rename(entry, &moved).unwrap();
        symlink(&moved, entry).unwrap();
    });
    let refused = cli.run(&["get", "/protected"]).expect(8).without_stdout();
    assert_snapshot!(cli.settled(&refused.stderr), @"error: [config]/credentials/[id].json is not safe to keep tokens in: it is a symbolic link; remove it");
}

#[test]
fn a_store_that_cannot_be_written_is_found_out_before_the_token_is_spent() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let directory = cli.entry().parent().unwrap().to_owned();
    // Root may write anywhere, so not a mode is taken away, but what others could have put there is put there.
    fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)).unwrap();
    let refused = cli.run(&["get", "/x"]).expect(8).without_stdout();
    assert!(refused.stderr.contains("is not safe to keep tokens in"), "{}", refused.stderr);
    assert!(refused.stderr.contains("chmod 700"), "{}", refused.stderr);
    // The same refresh token as before is good: it was not sent.
    fs::set_permissions(&directory, PermissionsExt::from_mode(0o700)).unwrap();
    let get = cli.start(&["get", "/x"]);
    let refresh = endpoint.expect("POST", "/refresh");
    assert_eq!(refresh.refresh_token(), "refresh-1");
    refresh.reply(Answer::tokens("access-2", "refresh-2", 900.0));
    endpoint.expect("GET", "/x").reply(Answer::new(200, ""));
    get.finish().expect(0);
}

#[test]
fn an_entry_that_is_gone_is_a_logout() {
    let server = Server::start();
    let cli = damaged(&server, |entry| fs::remove_file(entry).unwrap());
    cli.run(&["get", "/protected"]).expect(7);
    cli.login();
    cli.run(&["get", "/protected"]).expect(0);
}

#[test]
fn a_lost_or_damaged_stamp_costs_nothing() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    for damage in ["", "{", "canary"] {
        fs::write(cli.entry().with_extension("stamp"), damage).unwrap();
        cli.run(&["refresh"]).expect(0);
    }
    fs::remove_file(cli.entry().with_extension("stamp")).unwrap();
    cli.run(&["refresh"]).expect(0);
    assert_eq!(server.refreshes(), 4);
}

#[test]
fn tokens_that_cannot_be_saved_are_used_and_the_exit_says_so() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let directory = cli.entry().parent().unwrap().to_owned();
    let get = cli.start(&["get", "/x"]);
    let refresh = endpoint.expect("POST", "/refresh");
    // Others may enter from now on, so nothing is saved there: permissions alone would not stop root.
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    refresh.reply(Answer::tokens("access-2", "refresh-2", 900.0));
    let call = endpoint.expect("GET", "/x");
    assert_eq!(call.bearer(), Some("access-2"));
    call.reply(Answer::new(200, "fine"));
    let get = get.finish().expect(8);
    assert_eq!(get.text(), "fine");
    assert!(get.stderr.starts_with("error: the refreshed tokens could not be saved"), "{}", get.stderr);

    // Mended, the next call repeats the same attempt with what was saved last.
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    let get = cli.start(&["get", "/x"]);
    let repeated = endpoint.expect("POST", "/refresh");
    assert_eq!(repeated.refresh_token(), "refresh-1");
    repeated.reply(Answer::tokens("access-2", "refresh-2", 900.0));
    endpoint.expect("GET", "/x").reply(Answer::new(200, "fine"));
    get.finish().expect(0);
}
