//! The file store and its lock on a disk that is full, read-only, or not as it was left.
//!
//! Without any rights, a limit on the size of files stands for a full disk, and for a kill in the middle of a write: the
//! signal that comes with it ends the program unless it is ignored. A disk that is really full, or read-only also for
//! root, is mounted in a namespace of the program's own.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use insta::assert_snapshot;

use crate::support::{Answer, Cli, Endpoint, Running, Server, logged_in};

/// Ignores the signal of the limit on the size of files, so that the write fails as on a full disk.
const FULL: &str = "trap '' XFSZ; ulimit -f 8";
/// Lets the signal end the program in the middle of the write.
const DEADLY: &str = "ulimit -c 0; ulimit -f 8";
/// More than that limit, whatever unit the shell counts in.
const LONG_TOKEN: usize = 32 * 1024;

fn credentials(cli: &Cli) -> PathBuf {
    cli.configuration().join("credentials")
}

/// Returns the names in the directory of the credentials, without the credential's own id.
fn names(cli: &Cli) -> Vec<String> {
    let entries = fs::read_dir(credentials(cli)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.map(|name| name.replace(&cli.credential(), "[id]")).collect();
    names.sort();
    names
}

const TIDY: [&str; 3] = ["[id].json", "[id].lock", "[id].stamp"];

/// Starts the program from a shell that has run `script`.
fn start_after(cli: &Cli, script: &str, arguments: &[&str]) -> Running {
    Running::start(after(cli.command_of("sh"), cli, &format!("{script}; exec \"$@\""), arguments))
}

/// Runs `script` in a mount namespace, with the program and its arguments as its own.
fn start_in_namespace(cli: &Cli, script: &str, arguments: &[&str]) -> Running {
    let mut unshare = cli.command_of("unshare");
    unshare.args(["--map-root-user", "--mount", "sh"]);
    Running::start(after(unshare, cli, &format!("set -e; {script}"), arguments))
}

fn after(mut command: Command, cli: &Cli, script: &str, arguments: &[&str]) -> Command {
    command.env("CREDENTIALS", credentials(cli)).env("ASIDE", cli.path("aside"));
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_authcli")]).args(arguments);
    command
}

/// Returns a token that no entry of the usual size has room for.
fn long_token(mark: &str) -> String {
    mark.repeat(LONG_TOKEN)
}

/// Answers a refresh that repeats the attempt with `refresh_token`, and the call after it.
#[track_caller]
fn finish_with_refresh(endpoint: &Endpoint, get: Running, refresh_token: &str) {
    let refresh = endpoint.expect("POST", "/refresh");
    assert!(refresh.refresh_token() == refresh_token);
    refresh.reply(Answer::tokens("access-next", "refresh-next", 900.0));
    let call = endpoint.expect("GET", "/x");
    assert_eq!(call.bearer(), Some("access-next"));
    call.reply(Answer::new(200, ""));
    get.finish().expect(0).silent();
}

#[test]
fn a_full_disk_is_found_out_before_the_token_is_spent() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", &long_token("r"), 0.001);
    let before = fs::read(cli.entry()).unwrap();
    for command in [["get", "/x"].as_slice(), &["refresh"], &["burst", "-n", "3", "/x"]] {
        let refused = start_after(&cli, FULL, command).finish().expect(8);
        // The endpoint would complain of any call.
        assert!(refused.stderr.contains("could not write beside"), "{}", refused.stderr);
        assert!(fs::read(cli.entry()).unwrap() == before);
        assert_eq!(names(&cli), TIDY);
    }
    finish_with_refresh(&endpoint, cli.start(&["get", "/x"]), &long_token("r"));
}

#[test]
fn a_disk_that_is_full_when_new_tokens_are_saved_costs_no_session() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let before = fs::read(cli.entry()).unwrap();
    let get = start_after(&cli, FULL, &["get", "/x"]);
    let refresh = endpoint.expect("POST", "/refresh");
    let attempt = refresh.header("Idempotency-Key").unwrap().to_owned();
    refresh.reply(Answer::tokens("access-2", &long_token("r"), 900.0));
    let call = endpoint.expect("GET", "/x");
    assert_eq!(call.bearer(), Some("access-2"), "they are used all the same");
    call.reply(Answer::new(200, "fine"));
    let get = get.finish().expect(8);
    assert_eq!(get.text(), "fine");
    assert!(get.stderr.contains("could not be saved"), "{}", get.stderr);
    assert_eq!(fs::read(cli.entry()).unwrap(), before);
    assert_eq!(names(&cli), TIDY);

    let again = cli.start(&["refresh"]);
    let refresh = endpoint.expect("POST", "/refresh");
    assert_eq!((&*refresh.refresh_token(), refresh.header("Idempotency-Key")), ("refresh-1", Some(&*attempt)));
    refresh.reply(Answer::tokens("access-2", "refresh-2", 900.0));
    again.finish().expect(0);
}

/// Returns a user whose last refresh was killed while its tokens were written.
fn killed_in_a_save(endpoint: &Endpoint) -> Cli {
    let cli = Cli::new(&endpoint.url);
    cli.login_at(endpoint, "access-1", "refresh-1", 0.001);
    let before = fs::read(cli.entry()).unwrap();
    let killed = start_after(&cli, DEADLY, &["refresh"]);
    endpoint.expect("POST", "/refresh").reply(Answer::tokens(&long_token("canary"), "refresh-2", 900.0));
    assert_eq!(killed.finish().code, None, "ended by a signal");
    assert_eq!(fs::read(cli.entry()).unwrap(), before);
    let left: Vec<_> = names(&cli).into_iter().filter(|name| !TIDY.contains(&&**name)).collect();
    assert!(matches!(&*left, [name] if name.starts_with(".[id].json.")), "{left:?}");
    assert!(cli.everything().contains("canary"), "what is left holds tokens");
    cli
}

#[test]
fn what_a_killed_writer_left_goes_with_the_next_save() {
    let endpoint = Endpoint::start();
    let cli = killed_in_a_save(&endpoint);
    // A reader removes nothing.
    cli.run(&["status"]).expect(0);
    assert!(cli.everything().contains("canary"));
    finish_with_refresh(&endpoint, cli.start(&["get", "/x"]), "refresh-1");
    assert_eq!(names(&cli), TIDY);
    assert!(!cli.everything().contains("canary"));
}

#[test]
fn what_a_killed_writer_left_goes_with_a_logout() {
    let endpoint = Endpoint::start();
    let cli = killed_in_a_save(&endpoint);
    let logout = cli.start(&["logout"]);
    endpoint.expect("POST", "/logout").reply(Answer::new(204, ""));
    logout.finish().expect(0);
    assert_eq!(names(&cli), TIDY[1..]);
    assert!(!cli.everything().contains("canary"));
}

#[test]
#[ignore = "needs user namespaces: run `make test`"]
fn a_disk_without_a_block_to_spare_is_found_out_before_the_token_is_spent() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", &long_token("r"), 0.001);
    let before = fs::read(cli.entry()).unwrap();
    // Room for a stamp is left, and for an empty file; not for the entry.
    let script = r#"
        cp -a "$CREDENTIALS" "$ASIDE"
        mount -t tmpfs -o size=128k,mode=700 none "$CREDENTIALS"
        cp -a "$ASIDE/." "$CREDENTIALS"
        head -c 8192 /dev/zero >"$CREDENTIALS/spare"
        cat /dev/zero >"$CREDENTIALS/filler" 2>/dev/null || true
        rm "$CREDENTIALS/spare"
        code=0; "$@" || code=$?
        rm -r "$ASIDE"; cp -a "$CREDENTIALS" "$ASIDE"
        exit $code"#;
    let refused = start_in_namespace(&cli, script, &["get", "/x"]).finish().expect(8).without_stdout();
    assert!(refused.stderr.contains("could not write beside"), "{}", refused.stderr);
    assert!(refused.stderr.contains("No space left on device"), "{}", refused.stderr);
    let id = cli.credential();
    assert!(fs::read(cli.path("aside").join(format!("{id}.json"))).unwrap() == before);
    let mut left: Vec<_> = fs::read_dir(cli.path("aside")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left.len(), 4, "nothing but the filler came: {left:?}");
    finish_with_refresh(&endpoint, cli.start(&["get", "/x"]), &long_token("r"));
}

#[test]
#[ignore = "needs user namespaces: run `make test`"]
fn on_a_read_only_disk_a_live_token_is_used_and_none_is_refreshed() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let run = |arguments: &[&str]| {
        let script = r#"
            mount --bind "$CREDENTIALS" "$CREDENTIALS"
            mount -o remount,bind,ro "$CREDENTIALS"
            exec "$@""#;
        start_in_namespace(&cli, script, arguments).finish()
    };
    run(&["get", "/protected"]).expect(0).silent();
    run(&["token"]).expect(0).silent();
    run(&["status"]).expect(0);
    let refused = run(&["refresh"]).expect(8).without_stdout();
    assert!(refused.stderr.contains("could not write beside"), "{}", refused.stderr);
    assert!(refused.stderr.contains("Read-only file system"), "{}", refused.stderr);
    assert_eq!(server.refreshes(), 0);
    cli.run(&["refresh"]).expect(0);
}

/// Runs `damage` on a fresh login and asserts that every use of it is refused with `expected`, and that nothing is sent.
#[track_caller]
fn assert_refused(damage: impl FnOnce(&Cli), expected: &str) {
    let (endpoint, cli) = logged_in();
    damage(&cli);
    for arguments in [["get", "/x"].as_slice(), &["token"], &["status"], &["refresh"], &["logout"]] {
        let refused = cli.run(arguments).expect(8).without_stdout();
        assert!(cli.settled(&refused.stderr).contains(expected), "{arguments:?}: {}", refused.stderr);
    }
    drop(endpoint);
}

#[test]
fn a_directory_that_is_a_link_is_refused() {
    assert_refused(
        |cli| {
            fs::rename(credentials(cli), cli.path("elsewhere")).unwrap();
            symlink(cli.path("elsewhere"), credentials(cli)).unwrap();
        },
        "[config]/credentials is not safe to keep tokens in: it is a symbolic link; remove it",
    );
}

#[test]
fn a_directory_that_others_may_enter_is_refused() {
    for mode in [0o755, 0o750, 0o701, 0o777] {
        assert_refused(
            |cli| fs::set_permissions(credentials(cli), fs::Permissions::from_mode(mode)).unwrap(),
            &format!("others may open it (mode {mode:03o}); run `chmod 700` on it"),
        );
    }
}

#[test]
fn a_pipe_or_a_directory_in_the_entrys_place_is_refused() {
    assert_refused(
        |cli| {
            fs::remove_file(cli.entry()).unwrap();
            assert!(Command::new("mkfifo").args(["-m", "600"]).arg(cli.entry()).status().unwrap().success());
        },
        "it is not a regular file; remove it",
    );
    assert_refused(
        |cli| {
            fs::remove_file(cli.entry()).unwrap();
            fs::create_dir(cli.entry()).unwrap();
        },
        "it is not a regular file; remove it",
    );
}

#[test]
#[ignore = "needs to be root, or user namespaces: run `make test`"]
fn an_entry_or_a_directory_of_another_owner_is_refused() {
    if rustix::process::geteuid().is_root() {
        assert_refused(|cli| chown(cli.entry(), Some(12345), None).unwrap(), "it belongs to user id 12345");
        assert_refused(|cli| chown(credentials(cli), Some(12345), None).unwrap(), "it belongs to user id 12345");
        return;
    }
    // Root's own files are another's, and in the namespace they can be put in the way.
    let (_endpoint, cli) = logged_in();
    for (place, theirs) in [(cli.entry(), "/etc/passwd"), (credentials(&cli), "/etc")] {
        let script = format!("mount --bind {theirs} {}; exec \"$@\"", place.display());
        let refused = start_in_namespace(&cli, &script, &["get", "/x"]).finish().expect(8).without_stdout();
        assert!(refused.stderr.contains("it belongs to user id"), "{}", refused.stderr);
    }
}

/// Puts `damage` in the place of the lock file and asserts that nothing is refreshed, while a live token is still used.
#[track_caller]
fn assert_no_lock(damage: impl FnOnce(&Path)) -> String {
    let (endpoint, cli) = logged_in();
    let lock = cli.entry().with_extension("lock");
    fs::remove_file(&lock).unwrap();
    damage(&lock);
    let refused = cli.run(&["refresh"]).expect(9).without_stdout();
    assert_eq!(cli.run(&["token"]).expect(0).silent().text(), "access-1\n");
    let get = cli.start(&["get", "/x"]);
    endpoint.expect("GET", "/x").reply(Answer::new(200, ""));
    get.finish().expect(0).silent();
    cli.settled(&refused.stderr)
}

#[test]
fn without_a_lock_nothing_is_refreshed() {
    let refused = assert_no_lock(|lock| fs::create_dir(lock).unwrap());
    assert_snapshot!(refused, @"
    error: could not lock [config]/credentials/[id].lock
      caused by: Is a directory (os error 21)
    hint: nothing is refreshed without the lock; mend or remove that file
    ");
    let refused = assert_no_lock(|lock| {
        fs::write(lock.with_extension("target"), "untouched").unwrap();
        symlink(lock.with_extension("target"), lock).unwrap();
    });
    assert_snapshot!(refused, @"
    error: could not lock [config]/credentials/[id].lock
      caused by: it is a symbolic link; remove it
    hint: nothing is refreshed without the lock; mend or remove that file
    ");
}

#[test]
fn a_lock_file_that_is_removed_in_the_middle_of_a_refresh_costs_no_session() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let first = cli.start(&["refresh"]);
    let first_call = endpoint.expect("POST", "/refresh");
    fs::remove_file(cli.entry().with_extension("lock")).unwrap();
    // Nothing keeps the second one out now; but both make the same attempt, which a server answers the same way.
    let second = cli.start(&["refresh"]);
    let second_call = endpoint.expect("POST", "/refresh");
    assert_eq!(first_call.header("Idempotency-Key"), second_call.header("Idempotency-Key"));
    assert_eq!(first_call.refresh_token(), second_call.refresh_token());
    for (call, process) in [(first_call, first), (second_call, second)] {
        call.reply(Answer::tokens("access-2", "refresh-2", 900.0));
        process.finish().expect(0);
    }
    assert_eq!(cli.run(&["token"]).expect(0).silent().text(), "access-2\n");
}

#[test]
fn a_stamp_that_is_a_link_is_not_followed() {
    let (endpoint, cli) = logged_in();
    let (stamp, target) = (cli.entry().with_extension("stamp"), cli.path("target"));
    fs::write(&target, "untouched").unwrap();
    fs::remove_file(&stamp).unwrap();
    symlink(&target, &stamp).unwrap();
    let refresh = cli.start(&["refresh"]);
    endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
    refresh.finish().expect(0);
    assert_eq!(fs::read_to_string(&target).unwrap(), "untouched");
    assert!(fs::symlink_metadata(&stamp).unwrap().is_file(), "it was replaced");
}

/// Makes the configuration read-only, but for the directory of the credentials, and runs the program.
const READ_ONLY_CONFIGURATION: &str = "
    mount --bind \"$AUTHCLI_CONFIG_DIR\" \"$AUTHCLI_CONFIG_DIR\"
    mount --bind \"$CREDENTIALS\" \"$CREDENTIALS\"
    mount -o remount,ro,bind \"$AUTHCLI_CONFIG_DIR\"
    exec \"$@\"";

/// Logs in as the other user, with the configuration read-only.
fn log_in_without_a_note(cli: &Cli, store: &str) -> crate::support::Output {
    let password = cli.path("password");
    fs::write(&password, "password2\n").unwrap();
    let script = format!("{READ_ONLY_CONFIGURATION} <{}", password.display());
    let arguments = ["login", "-u", "user2", "--password-stdin", "--store", store];
    start_in_namespace(cli, &script, &arguments).finish()
}

#[test]
#[ignore = "needs user namespaces: run `make test`"]
fn a_login_that_the_profile_cannot_note_is_a_login_all_the_same() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let login = log_in_without_a_note(&cli, "file").expect(0);
    assert!(login.stderr.contains("warning: the profile still shows the login before: "), "{}", login.stderr);
    cli.run(&["refresh"]).expect(0);
    assert_eq!(cli.run(&["get", "/protected"]).expect(0).json()["userId"], 2);
    assert_eq!(server.logouts(), 1, "the session before is revoked, and no other");
}

#[test]
#[ignore = "needs user namespaces, gnome-keyring and dbus: run `make test`"]
fn a_move_that_the_profile_cannot_note_leaves_the_session_where_it_is() {
    let (keyring, server) = (crate::support::SecretService::start(), Server::start());
    let cli = keyring.user(&server.url);
    cli.login();
    let login = log_in_without_a_note(&cli, "file").expect(8);
    assert!(login.stderr.contains("could not write "), "{}", login.stderr);
    assert_eq!(server.logouts(), 1, "the new session is revoked, and no other");
    assert!(!cli.entry().exists());
    cli.run(&["refresh"]).expect(0);
    assert_eq!(cli.run(&["get", "/protected"]).expect(0).json()["userId"], 1);
    cli.run(&["logout"]).expect(0);
}
