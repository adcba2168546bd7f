//! Logging in.

use insta::{allow_duplicates, assert_snapshot};

use crate::support::{Answer, Cli, Endpoint, NOBODY, Server, logged_in};

const LOGIN: [&str; 4] = ["login", "-u", "admin", "--password-stdin"];

#[test]
fn a_login_says_so_on_stderr_and_nothing_on_stdout() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    let login = cli.login().without_stdout();
    assert_snapshot!(cli.settled(&login.stderr), @"Logged in to [server] as admin; tokens are in the file store");
    let cli = Cli::new(&server.url);
    cli.run_with_input(&["login", "-q", "-u", "admin", "--password-stdin"], "123456")
        .expect(0)
        .without_stdout()
        .silent();
}

#[test]
fn the_password_is_the_first_line_without_its_end() {
    for (input, password) in [
        ("secret", "secret"),
        ("secret\n", "secret"),
        ("secret\r\n", "secret"),
        (" secret \nmore\n", " secret "),
        ("pässwörd 密码\n", "pässwörd 密码"),
    ] {
        let endpoint = Endpoint::start();
        let cli = Cli::new(&endpoint.url);
        let login = cli.start_with_input(&LOGIN, input);
        let call = endpoint.expect("POST", "/login");
        let body: serde_json::Value = serde_json::from_slice(&call.body).unwrap();
        assert_eq!(body, serde_json::json!({"username": "admin", "password": password}));
        call.reply(Answer::tokens("access", "refresh", 900.0));
        login.finish().expect(0);
    }
}

#[test]
fn the_server_is_the_flags_then_the_environments_then_the_profiles() {
    let server = Server::start();
    let cli = Cli::new(NOBODY);
    cli.run_with_input(&["login", "-u", "admin", "--password-stdin", "--server", &server.url], "123456").expect(0);
    let cli = cli.without("AUTHCLI_SERVER");
    assert_eq!(cli.run(&["status", "--json"]).expect(0).json()["server"], server.url.as_str());
    cli.run(&["get", "/protected"]).expect(0);
    // A new login goes where the last one went.
    cli.login();
}

#[test]
fn a_wrong_password_leaves_the_session_before_alone() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let refused = cli.run_with_input(&LOGIN, "wrong\n").expect(4).without_stdout();
    assert_snapshot!(cli.settled(&refused.stderr), @"error: [server] refused the login: Invalid username or password");
    cli.run(&["get", "/protected"]).expect(0);
    assert_eq!(server.logouts(), 0);
}

#[test]
fn a_wrong_password_without_a_session_leaves_none() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.run_with_input(&LOGIN, "wrong\n").expect(4);
    cli.run(&["status"]).expect(7);
}

#[test]
fn a_new_login_revokes_the_session_before() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    let login = cli.start_with_input(&LOGIN, "password\n");
    endpoint.expect("POST", "/login").reply(Answer::tokens("access-2", "refresh-2", 900.0));
    let logout = endpoint.expect("POST", "/logout");
    assert_eq!(logout.refresh_token(), "refresh-1");
    // By now the new session is what every other process finds.
    assert_eq!(cli.run(&["token"]).expect(0).text(), "access-2\n");
    logout.reply(Answer::new(204, ""));
    login.finish().expect(0);
}

#[test]
fn a_session_before_that_cannot_be_revoked_is_a_warning() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    let login = cli.start_with_input(&LOGIN, "password\n");
    endpoint.expect("POST", "/login").reply(Answer::tokens("access-2", "refresh-2", 900.0));
    endpoint.expect("POST", "/logout").reply(Answer::new(500, "down"));
    let login = login.finish().expect(0);
    assert_snapshot!(cli.settled(&login.stderr), @"
    Logged in to [server] as admin; tokens are in the file store
    warning: the session before could not be revoked: [server]/logout answered 500 Internal Server Error
    ");
}

#[test]
fn without_a_terminal_all_must_be_given() {
    // Nobody listens there: it is refused before anything is connected to.
    let cli = Cli::new(NOBODY);
    assert_snapshot!(cli.run(&["login"]).expect(2).without_stdout().stderr, @"
    error: there is no terminal to ask for the user name and the password
    hint: pass `-u NAME --password-stdin` and the password on standard input
    ");
    assert_snapshot!(cli.run(&["login", "-u", "admin"]).expect(2).without_stdout().stderr, @"
    error: there is no terminal to ask for the password
    hint: pass `-u NAME --password-stdin` and the password on standard input
    ");
    cli.run_with_input(&["login", "--password-stdin"], "secret\n").expect(2);
}

#[test]
fn an_empty_password_is_refused() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    for input in ["", "\n", "\r\n", "\nsecret\n"] {
        let refused = cli.run_with_input(&LOGIN, input).expect(2);
        allow_duplicates! {
            assert_snapshot!(refused.stderr, @"error: standard input holds no password");
        }
    }
}

#[test]
fn no_server_is_told_before_anything_is_read() {
    let cli = Cli::new(NOBODY);
    // Standard input stays open and empty: whoever reads it first does not come back.
    let mut command = cli.command_of(env!("CARGO_BIN_EXE_authcli"));
    command.args(LOGIN).stdin(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let input = child.stdin.take();
    let stderr = crate::support::read_aside(child.stderr.take().unwrap());
    let start = std::time::Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > crate::support::BOUND {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it waits for the password of a server that is not there");
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    drop(input);
    assert_eq!(status.code(), Some(6));
    let stderr = String::from_utf8(stderr.join().unwrap()).unwrap();
    assert_snapshot!(cli.settled(&stderr), @"
    error: no server answers at [server]
      caused by: could not connect to [server]
      caused by: Connection refused (os error N)
    hint: name the server with `--server URL`, or start one to try things out: `authcli-server serve --demo`
    ");
    assert!(!cli.configuration().join("config.toml").exists(), "a login that failed leaves no profile");
}

#[test]
fn answers_that_are_no_tokens_are_nonsense() {
    for (answer, expected) in [
        (Answer::new(200, "<html>Welcome</html>"), "a body that is not JSON"),
        (Answer::new(200, ""), "a body that is not JSON"),
        (Answer::new(200, "[]"), "no text at `/accessToken` (it has no keys)"),
        (Answer::new(200, "{\"token\":\"x\"}"), "no text at `/accessToken` (its keys: /token)"),
        (Answer::new(401, "<html>"), "no JSON object with an error at `/error`"),
        (Answer::new(500, "{\"error\":\"x\"}"), "500 Internal Server Error"),
        (Answer::new(503, ""), "503 Service Unavailable"),
    ] {
        let endpoint = Endpoint::start();
        let cli = Cli::new(&endpoint.url);
        let login = cli.start_with_input(&LOGIN, "secret\n");
        endpoint.expect("POST", "/login").reply(answer);
        let login = login.finish().expect(6).without_stdout();
        assert!(login.stderr.contains(expected), "{expected} in {}", login.stderr);
        cli.run(&["status"]).expect(7);
    }
}

#[test]
fn a_login_that_is_cut_off_is_told() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let login = cli.start_with_input(&LOGIN, "secret\n");
    endpoint.expect("POST", "/login").hang_up();
    let login = login.finish().expect(6);
    assert!(cli.settled(&login.stderr).contains("[server] did not answer"), "{}", login.stderr);
}

#[test]
fn too_many_logins_are_told_with_the_time_to_wait() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let login = cli.start_with_input(&LOGIN, "secret\n");
    endpoint.expect("POST", "/login").reply(Answer::error(429, "slow down").with("Retry-After", "7"));
    assert_snapshot!(cli.settled(&login.finish().expect(4).stderr), @"
    error: [server] accepts no more logins for now
    hint: try again in 7 s
    ");
}

#[test]
fn a_login_follows_no_redirect() {
    let (endpoint, elsewhere) = (Endpoint::start(), Endpoint::start());
    let cli = Cli::new(&endpoint.url);
    let login = cli.start_with_input(&LOGIN, "secret\n");
    let answer = Answer::new(307, "").with("Location", &format!("{}/login", elsewhere.url));
    endpoint.expect("POST", "/login").reply(answer);
    assert_ne!(login.finish().code, Some(0));
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn a_path_of_the_server_comes_before_every_call() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&format!("{}/v1", endpoint.url));
    let login = cli.start_with_input(&LOGIN, "secret\n");
    endpoint.expect("POST", "/v1/login").reply(Answer::tokens("access-1", "refresh-1", 0.001));
    login.finish().expect(0);
    let get = cli.start(&["get", "users?page=2"]);
    endpoint.expect("POST", "/v1/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
    endpoint.expect("GET", "/v1/users?page=2").reply(Answer::new(200, "users"));
    assert_eq!(get.finish().expect(0).text(), "users");
    let logout = cli.start(&["logout"]);
    endpoint.expect("POST", "/v1/logout").reply(Answer::new(204, ""));
    logout.finish().expect(0);
}

#[test]
#[cfg(unix)]
fn a_login_that_cannot_be_saved_is_revoked_again() {
    use std::os::unix::fs::PermissionsExt;

    let (endpoint, cli) = logged_in();
    let login = cli.start_with_input(&LOGIN, "x\n");
    let call = endpoint.expect("POST", "/login");
    // Between the check of the store and the save.
    let directory = cli.configuration().join("credentials");
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)).unwrap();
    call.reply(Answer::tokens("access-2", "refresh-2", 900.0));
    let revoked = endpoint.expect("POST", "/logout");
    assert_eq!(revoked.refresh_token(), "refresh-2");
    revoked.reply(Answer::new(204, ""));
    login.finish().expect(8);
    // The session before stands.
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o700)).unwrap();
    assert_eq!(cli.run(&["token"]).expect(0).text(), "access-1\n");
}

#[test]
fn of_many_first_logins_at_once_one_session_is_left_and_the_profile_names_it() {
    const LOGINS: usize = 8;
    let server = Server::start();
    let cli = Cli::new(&server.url);
    let logins: Vec<_> = (0..LOGINS).map(|_| cli.start_with_input(&LOGIN, "123456\n")).collect();
    for login in logins {
        login.finish().expect(0);
    }
    cli.run(&["get", "/protected"]).expect(0);
    let entries = std::fs::read_dir(cli.configuration().join("credentials")).unwrap();
    let entries = entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "json"));
    assert_eq!(entries.count(), 1, "every entry is one that a profile names");
    assert_eq!(server.logouts(), LOGINS - 1, "the others were revoked");
}

#[test]
#[cfg(target_os = "linux")]
#[ignore = "needs gnome-keyring and dbus: run `make test`"]
fn of_first_logins_at_once_with_different_stores_one_session_is_left() {
    let (keyring, server) = (crate::support::SecretService::start(), Server::start());
    for _ in 0..5 {
        let cli = keyring.user(&server.url);
        let logins: Vec<_> = ["keyring", "file", "keyring", "file"]
            .map(|store| cli.start_with_input(&[&LOGIN[..], &["--store", store]].concat(), "123456\n"))
            .into();
        for login in logins {
            login.finish().expect(0);
        }
        cli.run(&["get", "/protected"]).expect(0);
        let in_keyring = keyring.search().matches("label = ").count();
        assert_eq!(in_keyring + usize::from(cli.entry().exists()), 1);
        cli.run(&["logout"]).expect(0);
        assert!(!keyring.search().contains("label = ") && !cli.entry().exists());
    }
}
