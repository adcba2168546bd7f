//! What a refresh may come to, and what is left of the session afterwards.

use insta::{allow_duplicates, assert_snapshot};

use crate::support::{Answer, Cli, Endpoint, Server};

/// A user whose token is at its end: the next call refreshes first.
fn at_its_end() -> (Endpoint, Cli) {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    (endpoint, cli)
}

/// The session stands: the same refresh token is sent again, under the same key, and a good answer heals everything.
#[track_caller]
fn assert_it_stands(endpoint: &Endpoint, cli: &Cli, key: &str) {
    // A failure is remembered for a second, by a real clock: until then the same error comes without a call.
    let get = loop {
        let mut get = cli.start(&["get", "/x"]);
        if let Some(refresh) = wait_for_call(endpoint, &mut get) {
            assert_eq!((refresh.method.as_str(), refresh.path.as_str()), ("POST", "/refresh"));
            assert_eq!(refresh.refresh_token(), "refresh-1");
            assert_eq!(refresh.header("Idempotency-Key"), Some(key));
            refresh.reply(Answer::tokens("access-2", "refresh-2", 900.0));
            break get;
        }
        let remembered = get.finish().expect(6);
        assert!(remembered.stderr.contains("a moment ago"), "{}", remembered.stderr);
    };
    let call = endpoint.expect("GET", "/x");
    assert_eq!(call.bearer(), Some("access-2"));
    call.reply(Answer::new(200, "fine"));
    assert_eq!(get.finish().expect(0).text(), "fine");
}

/// Returns the next call, or `None` if the process ends without one.
fn wait_for_call(endpoint: &Endpoint, process: &mut crate::support::Running) -> Option<crate::support::Call> {
    while !process.has_ended() {
        if let Some(call) = endpoint.poll(std::time::Duration::from_millis(5)) {
            return Some(call);
        }
    }
    endpoint.poll(std::time::Duration::ZERO)
}

/// Answers every refresh of one `get` like this, of which there must be so many; returns the error and the key that was
/// sent.
#[track_caller]
fn refreshes_answered(
    endpoint: &Endpoint,
    cli: &Cli,
    code: i32,
    calls: usize,
    answer: Option<&Answer>,
) -> (String, String) {
    let get = cli.start(&["get", "/x"]);
    let (mut keys, mut logouts) = (Vec::new(), 0);
    let get = get.finish_answering(endpoint, |call| {
        // A session that was ended is ended for everybody.
        if code == 7 && keys.len() == calls {
            assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/logout"));
            assert_eq!(call.refresh_token(), "refresh-1");
            logouts += 1;
            call.reply(Answer::new(204, ""));
            return;
        }
        assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/refresh"));
        assert_eq!(call.refresh_token(), "refresh-1");
        keys.push(call.header("Idempotency-Key").unwrap().to_owned());
        match answer {
            Some(answer) => call.reply(answer.clone()),
            None => call.hang_up(),
        }
    });
    assert_eq!((keys.len(), logouts), (calls, usize::from(code == 7)));
    keys.dedup();
    assert_eq!(keys.len(), 1, "all tries are one attempt");
    let get = get.expect(code).without_stdout();
    (cli.settled(&get.stderr), keys.remove(0))
}

#[test]
fn a_clear_refusal_ends_the_session_and_nobody_asks_again() {
    for status in [400, 401, 403] {
        let (endpoint, cli) = at_its_end();
        let answer = Answer::error(status, "Invalid refresh token");
        let (told, _) = refreshes_answered(&endpoint, &cli, 7, 1, Some(&answer));
        allow_duplicates! {
            assert_snapshot!(told, @"
            error: the session has ended: Invalid refresh token
            hint: run `authcli login`
            ");
        }
        let before = endpoint.connections();
        for arguments in [["get", "/x"].as_slice(), &["token"], &["refresh"], &["status"], &["burst", "-n", "5"]] {
            let refused = cli.run(arguments).expect(7).without_stdout();
            allow_duplicates! {
                assert_snapshot!(refused.stderr, @"
                error: the session has ended: Invalid refresh token
                hint: run `authcli login`
                ");
            }
        }
        assert_eq!(endpoint.connections(), before);
        assert!(!cli.everything().contains("refresh-1"), "the tokens are forgotten");
        cli.login_at(&endpoint, "access-9", "refresh-9", 900.0);
        assert_eq!(cli.run(&["token"]).expect(0).text(), "access-9\n");
    }
}

#[test]
fn a_session_revoked_at_the_real_server_has_ended() {
    let mut server = Server::with_access_ttl("1ms");
    let cli = Cli::new(&server.url);
    cli.login();
    let stolen = std::fs::read(cli.entry()).unwrap();
    cli.run(&["refresh"]).expect(0);
    // A copy of the store from before, refreshed again: to the server that is reuse, and ends the session for both.
    let thief = Cli::new(&server.url);
    thief.login();
    std::fs::write(thief.entry(), with_another_key(&stolen)).unwrap();
    std::fs::remove_file(thief.entry().with_extension("stamp")).unwrap();
    thief.run(&["refresh"]).expect(7);
    server.restart("15m");
    let refused = cli.run(&["get", "/protected"]).expect(7);
    assert_snapshot!(refused.stderr, @"
    error: the session has ended: Invalid refresh token
    hint: run `authcli login`
    ");
}

fn with_another_key(entry: &[u8]) -> Vec<u8> {
    let mut entry: serde_json::Value = serde_json::from_slice(entry).unwrap();
    entry["attempt_key"] = "a-key-that-the-owner-never-used-anywhere".into();
    serde_json::to_vec(&entry).unwrap()
}

#[test]
fn a_page_that_says_403_is_no_refusal() {
    let (endpoint, cli) = at_its_end();
    let (told, key) = refreshes_answered(&endpoint, &cli, 6, 1, Some(&Answer::new(403, "<html>Blocked</html>")));
    assert_snapshot!(told, @"
    error: could not refresh the session
      caused by: [server]/refresh answered 403 Forbidden with no JSON object with an error at `/error`
    hint: the session stands; try again later
    ");
    assert_it_stands(&endpoint, &cli, &key);
}

#[test]
fn a_server_that_breaks_down_ends_no_session() {
    let (endpoint, cli) = at_its_end();
    let (told, key) = refreshes_answered(&endpoint, &cli, 6, 3, Some(&Answer::error(500, "broken")));
    assert_snapshot!(told, @"
    error: could not refresh the session
      caused by: [server]/refresh answered 500 Internal Server Error
    hint: the session stands; try again later
    ");
    assert_it_stands(&endpoint, &cli, &key);
}

#[test]
fn a_refresh_that_is_no_json_ends_no_session() {
    let check = |body: &str| {
        let (endpoint, cli) = at_its_end();
        let (_, key) = refreshes_answered(&endpoint, &cli, 6, 3, Some(&Answer::new(200, body)));
        assert_it_stands(&endpoint, &cli, &key);
    };
    let bodies = ["<html>", "", "{\"accessToken\":\"cut of", "{}", "null"];
    // At once: most of the time goes by until the failure is forgotten.
    std::thread::scope(|scope| bodies.iter().for_each(|body| drop(scope.spawn(move || check(body)))));
}

#[test]
fn a_refresh_that_is_cut_off_ends_no_session() {
    let (endpoint, cli) = at_its_end();
    let (told, key) = refreshes_answered(&endpoint, &cli, 6, 3, None);
    assert!(told.starts_with("error: could not refresh the session\n  caused by: [server] did not answer\n"), "{told}");
    assert_it_stands(&endpoint, &cli, &key);
}

#[test]
fn a_limit_without_a_time_is_not_tried_again_at_once() {
    let (endpoint, cli) = at_its_end();
    let get = cli.start(&["get", "/x"]);
    endpoint.expect("POST", "/refresh").reply(Answer::error(429, "slow down"));
    get.finish().expect(6);
}

#[test]
fn a_limit_with_a_long_time_is_remembered_across_processes() {
    let (endpoint, cli) = at_its_end();
    let get = cli.start(&["get", "/x"]);
    endpoint.expect("POST", "/refresh").reply(Answer::error(429, "slow down").with("Retry-After", "60"));
    let told = get.finish().expect(6).stderr;
    assert!(told.ends_with("hint: the session stands; try again in 60 s\n"), "{told}");
    let before = endpoint.connections();
    let told = cli.run(&["get", "/x"]).expect(6).stderr;
    assert!(told.contains("a moment ago; not asked again yet"), "{told}");
    assert!(told.contains("hint: the session stands; try again in "), "{told}");
    assert_eq!(endpoint.connections(), before);
}

#[test]
fn a_failed_refresh_is_tried_again_within_the_call() {
    let (endpoint, cli) = at_its_end();
    let get = cli.start(&["get", "/x"]);
    let first = endpoint.expect("POST", "/refresh");
    let key = first.header("Idempotency-Key").unwrap().to_owned();
    first.reply(Answer::new(502, "bad gateway"));
    let second = endpoint.expect("POST", "/refresh");
    assert_eq!(second.header("Idempotency-Key"), Some(key.as_str()));
    second.reply(Answer::tokens("access-2", "refresh-2", 900.0));
    endpoint.expect("GET", "/x").reply(Answer::new(200, "fine"));
    assert_eq!(get.finish().expect(0).silent().text(), "fine");
}

#[test]
fn a_server_that_is_away_costs_no_credentials() {
    let mut server = Server::with_access_ttl("1ms");
    let cli = Cli::new(&server.url);
    cli.login();
    server.stop();
    let away = cli.run(&["get", "/protected"]).expect(6).without_stdout();
    assert_snapshot!(cli.settled(&away.stderr), @"
    error: could not refresh the session
      caused by: could not connect to [server]
      caused by: Connection refused (os error N)
    hint: the session stands; try again later
    ");
    cli.run(&["refresh"]).expect(6);
    cli.run(&["burst", "-n", "3"]).expect(6);
    cli.run(&["status"]).expect(0);
}

#[test]
fn a_server_that_is_away_for_a_live_token_is_told_by_the_request() {
    let mut server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    server.stop();
    let away = cli.run(&["get", "/protected"]).expect(6).without_stdout();
    assert_snapshot!(cli.settled(&away.stderr), @"
    error: could not get an answer from [server]
      caused by: Connection refused (os error N)
    hint: is the server running, and is its address right? `authcli status` shows it
    ");
    server.restart("15m");
    cli.run(&["get", "/protected"]).expect(0);
}

#[test]
fn without_a_refresh_token_the_server_has_the_last_word_on_the_tokens_end() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let login = cli.start_with_input(&["login", "-u", "admin", "--password-stdin"], "x\n");
    let answer = Answer::json(200, &serde_json::json!({"accessToken": "access-1", "expiresIn": 0.001}));
    endpoint.expect("POST", "/login").reply(answer);
    login.finish().expect(0);
    // The local clock may be wrong.
    let get = cli.start(&["get", "/x"]);
    endpoint.expect("GET", "/x").reply(Answer::new(200, "fine"));
    assert_eq!(get.finish().expect(0).text(), "fine");
    let get = cli.start(&["get", "/x"]);
    endpoint.expect("GET", "/x").reply(Answer::error(401, "expired"));
    get.finish().expect(7).without_stdout();
    // Whoever asks for a live token gets none that is not known to be.
    cli.run(&["token"]).expect(7).without_stdout();
}

#[test]
fn without_a_refresh_token_a_refusal_is_told_as_what_it_is() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let login = cli.start_with_input(&["login", "-u", "admin", "--password-stdin"], "x\n");
    let answer = Answer::json(200, &serde_json::json!({"accessToken": "access-1", "expiresIn": 900}));
    endpoint.expect("POST", "/login").reply(answer);
    login.finish().expect(0);
    let get = cli.start(&["get", "/x"]);
    endpoint.expect("GET", "/x").reply(Answer::error(403, "no right"));
    let get = get.finish().expect(4);
    assert_eq!(get.json(), serde_json::json!({"error": "no right"}));
    assert_snapshot!(get.stderr, @"
    error: GET /x: 403 Forbidden
    hint: the server gave no refresh token; if the token was revoked, only a login helps
    ");
    assert_snapshot!(cli.run(&["refresh"]).expect(7).stderr, @"
    error: the server gave no refresh token
    hint: run `authcli login`
    ");
}
