//! No output of any kind holds a token or a password, however things go.

use std::thread;

use serde_json::json;

use crate::support::{Answer, Cli, Endpoint, Output};

/// Stands in every secret here, and in nothing else.
const CANARY: &str = "canary4711";

struct Watched {
    endpoint: Endpoint,
    cli: Cli,
    number: u32,
}

impl Watched {
    fn start(expires_in: f64) -> Self {
        let endpoint = Endpoint::start();
        let cli = Cli::new(&endpoint.url);
        let mut watched = Self { endpoint, cli, number: 0 };
        watched.login(expires_in);
        watched
    }

    fn tokens(&mut self, expires_in: f64) -> Answer {
        self.number += 1;
        let number = self.number;
        Answer::tokens(&format!("access-{CANARY}-{number}"), &format!("refresh-{CANARY}-{number}"), expires_in)
    }

    #[track_caller]
    fn login(&mut self, expires_in: f64) {
        let login = self.cli.start_with_input(&LOGIN, &format!("password-{CANARY}\n"));
        let answer = self.tokens(expires_in);
        self.endpoint.expect("POST", "/login").reply(answer);
        // The session before, if there is one, is revoked.
        clean(&login.finish_answering(&self.endpoint, |call| call.reply(Answer::new(204, ""))).expect(0));
    }

    /// Runs a command at `-vv`, with every refresh and every other call answered like this, and looks at all it said.
    #[track_caller]
    fn check(&self, arguments: &[&str], refresh: &Answer, other: &Answer) -> Output {
        let mut all = arguments.to_vec();
        all.push("-vv");
        let output =
            self.cli.start_with_input(&all, LINES).finish_answering(&self.endpoint, |call| match call.path.as_str() {
                "/refresh" => call.reply(refresh.clone()),
                _ => call.reply(other.clone()),
            });
        clean(&output);
        output
    }
}

/// What `batch` reads; the others read nothing.
const LINES: &str = "/x\nPOST /x {\"password\":\"canary4711\"}\n";
const LOGIN: [&str; 5] = ["login", "-u", "admin", "--password-stdin", "-vv"];
/// All ways to run a command in a session that print no token by design. Every command has its line: see
/// `every_command_is_watched`.
const COMMANDS: &[&[&str]] = &[
    &["status"],
    &["status", "--json"],
    &["status", "--claims"],
    &["status", "--claims", "--json"],
    &["refresh"],
    &["get", "/x"],
    &["head", "/x", "--follow"],
    &["post", "/x", "-d", "a=canary4711"],
    &["put", "/x", "--json", "{\"password\":\"canary4711\"}"],
    &["patch", "/x", "--form", "password=canary4711"],
    &["delete", "/x", "--query", "key=canary4711"],
    &["burst", "-n", "3"],
    &["burst", "-n", "3", "--json"],
    &["batch"],
    &["exec", "-vv", "--", "true"],
    &["profile", "list"],
    &["profile", "list", "--json"],
    &["profile", "show"],
    &["profile", "show", "--json"],
    &["profile", "set", "allow_http", "true"],
    &["profile", "use", "default"],
    &["doctor"],
    &["doctor", "--json"],
    &["completions", "bash"],
    &["man"],
    &["man", "login"],
];
/// Commands that have tests of their own: below, for they begin or end the session or print a token; `proxy`, which does
/// not end by itself, in `proxy/failures.rs`.
const WATCHED_ELSEWHERE: &[&str] = &["login", "logout", "proxy", "token"];

#[test]
fn every_command_is_watched() {
    let known = |command: &str| {
        WATCHED_ELSEWHERE.contains(&command) || COMMANDS.iter().any(|arguments| arguments[0] == command)
    };
    let missing: Vec<_> =
        super::help::commands(&Cli::new(crate::support::NOBODY)).into_iter().filter(|name| !known(name)).collect();
    assert!(missing.is_empty(), "a new command needs its line in COMMANDS: {missing:?}");
}

#[test]
fn a_session_that_is_removed_with_its_profile_shows_no_secret() {
    let watched = Watched::start(900.0);
    for refused in [["profile", "set", "store", "keyring"].as_slice(), &["profile", "remove", "default"]] {
        watched.check(refused, &Answer::new(500, ""), &Answer::new(204, "")).expect(2);
    }
    let removed =
        watched.check(&["profile", "remove", "default", "--logout"], &Answer::new(500, ""), &Answer::new(204, ""));
    removed.expect(0);
    assert!(!watched.cli.everything().contains(CANARY));
}

#[track_caller]
fn clean(output: &Output) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(!stdout.contains(CANARY), "stdout: {stdout}");
    assert!(!output.stderr.contains(CANARY), "stderr: {}", output.stderr);
    // It is also not there in another dress.
    for dress in [base64(CANARY), CANARY.to_uppercase(), CANARY.chars().rev().collect()] {
        assert!(!output.stderr.contains(&dress), "stderr: {}", output.stderr);
    }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(text)
}

#[test]
fn the_log_says_something() {
    // Else the tests below would watch nothing.
    let mut watched = Watched::start(0.001);
    let fresh = watched.tokens(900.0);
    let output = watched.check(&["get", "/x"], &fresh, &Answer::new(200, "fine")).expect(0);
    assert!(output.stderr.contains("refreshed"), "{}", output.stderr);
}

#[test]
fn commands_that_succeed_show_no_secret() {
    let mut watched = Watched::start(0.001);
    for arguments in COMMANDS {
        let fresh = watched.tokens(0.001);
        watched.check(arguments, &fresh, &Answer::new(200, "fine")).expect(0);
    }
    let fresh = watched.tokens(900.0);
    watched.check(&["get", "/x", "-i", "-H", &format!("X-Api-Key: {CANARY}")], &fresh, &Answer::new(200, "")).expect(0);
    watched.login(900.0);
    watched.check(&["logout"], &fresh, &Answer::new(204, "")).expect(0);
    watched.check(&["status"], &fresh, &Answer::new(204, "")).expect(7);
}

#[test]
fn refused_requests_show_no_secret() {
    let mut watched = Watched::start(900.0);
    for status in [401, 403, 404, 500, 302] {
        for arguments in [
            ["get", "/x"].as_slice(),
            &["post", "/x", "-d", "a=canary4711", "--query", "key=canary4711", "-H", "X-Api-Key: canary4711"],
            &["get", "/x", "--follow", "--query", "key=canary4711", "-H", "X-Api-Key: canary4711"],
            &["burst", "-n", "3"],
        ] {
            let fresh = watched.tokens(900.0);
            let refusal = Answer::error(status, "no")
                .with("Location", "/login")
                .with("Set-Cookie", &format!("session={CANARY}"))
                .with("WWW-Authenticate", "Bearer realm=\"api\", error=\"invalid_token\"");
            watched.check(arguments, &fresh, &refusal);
        }
    }
}

#[test]
fn a_token_that_an_answer_gives_back_is_not_shown() {
    for (name, value) in [
        ("Location", format!("/login?token=access-{CANARY}-1")),
        ("WWW-Authenticate", format!("Bearer error_description=\"access-{CANARY}-1 is no good\"")),
        ("X-Echo", format!("access-{CANARY}-1")),
        ("Authorization", format!("Bearer access-{CANARY}-1")),
    ] {
        let watched = Watched::start(900.0);
        let answer = Answer::error(404, "no").with(name, &value);
        watched.check(&["get", "/x"], &Answer::new(500, ""), &answer).expect(4);
    }
}

#[test]
fn refreshes_that_fail_show_no_secret() {
    let answers = [
        Answer::error(403, "Invalid refresh token"),
        Answer::new(403, &format!("<html>{CANARY}</html>")),
        Answer::new(500, &format!("panic at refresh {CANARY}")),
        Answer::new(200, &format!("<html>{CANARY}")),
        Answer::new(200, &format!("{{\"accessToken\":\"{CANARY}")),
        Answer::new(200, &format!("\"{CANARY}\"")),
        Answer::json(200, &json!({"accessToken": format!("{CANARY}\r\nX: y")})),
        Answer::json(200, &json!({"accessToken": {"value": CANARY}})),
        Answer::json(200, &json!({"accessToken": [CANARY], "refreshToken": CANARY})),
        Answer::json(200, &json!({"token": CANARY})),
        Answer::json(200, &json!({"accessToken": format!("a-{CANARY}"), "refreshToken": 7})),
        Answer::json(403, &json!({"error": {"token": CANARY}})),
        Answer::new(307, "").with("Location", &format!("http://{CANARY}.example/")),
        Answer::new(429, CANARY).with("Retry-After", "60"),
    ];
    let check = |answer: &Answer| {
        for arguments in [["get", "/x"].as_slice(), &["refresh"], &["token"]] {
            let watched = Watched::start(0.001);
            let output = watched.check(arguments, answer, &Answer::new(200, "fine"));
            assert_ne!(output.code, Some(0), "{answer:?}");
            // What it leaves behind for the next process, too.
            watched.check(&["get", "/x"], answer, &Answer::new(200, "fine"));
            watched.check(&["status"], answer, &Answer::new(200, "fine"));
        }
    };
    // At once: most of the time goes by in the pauses between one try and the next.
    thread::scope(|scope| answers.iter().for_each(|answer| drop(scope.spawn(move || check(answer)))));
}

#[test]
fn logins_that_fail_show_no_secret() {
    for answer in [
        Answer::error(401, "Invalid username or password"),
        Answer::new(401, CANARY),
        Answer::new(500, CANARY),
        Answer::new(200, &format!("<html>{CANARY}")),
        Answer::json(200, &json!({"token": CANARY})),
        Answer::json(200, &json!({"accessToken": [CANARY]})),
        Answer::new(308, "").with("Location", &format!("/{CANARY}")),
        Answer::error(429, "slow down").with("Retry-After", CANARY),
    ] {
        let endpoint = Endpoint::start();
        let cli = Cli::new(&endpoint.url);
        let login = cli.start_with_input(&LOGIN, &format!("password-{CANARY}\n"));
        endpoint.expect("POST", "/login").reply(answer);
        let login = login.finish();
        assert_ne!(login.code, Some(0));
        clean(&login);
        assert!(!cli.everything().contains(CANARY));
    }
}

#[test]
fn damaged_stores_show_no_secret() {
    let watched = Watched::start(900.0);
    let entry = std::fs::read_to_string(watched.cli.entry()).unwrap();
    assert!(entry.contains(CANARY), "the store is where secrets are");
    for damage in [
        entry[..entry.len() / 2].to_owned(),
        entry.replace(':', ";"),
        entry.replace(&format!("\"access-{CANARY}-1\""), &format!("{{\"{CANARY}\":1}}")),
        entry.replace(&format!("access-{CANARY}-1"), &format!("{CANARY}\\n")),
        entry.replace("\"version\":1", &format!("\"version\":\"{CANARY}\"")),
        entry.replace("\"received_at\":\"", &format!("\"received_at\":\"{CANARY}")),
    ] {
        assert_ne!(damage, entry);
        std::fs::write(watched.cli.entry(), damage).unwrap();
        for arguments in [["get", "/x"].as_slice(), &["refresh"]] {
            let refused = watched.check(arguments, &Answer::new(500, ""), &Answer::new(200, "fine"));
            assert_ne!(refused.code, Some(0), "{}", refused.stderr);
        }
        watched.check(&["status"], &Answer::new(500, ""), &Answer::new(200, ""));
    }
}

#[test]
fn secrets_in_addresses_and_headers_are_not_repeated() {
    let watched = Watched::start(900.0);
    let port = watched.endpoint.url.rsplit(':').next().unwrap();
    let address = format!("http://admin:{CANARY}@127.0.0.1:{port}");
    for arguments in [
        ["get", "/x", "--server", &address].as_slice(),
        &["get", &format!("{address}/x")],
        &["get", &format!("//admin:{CANARY}@127.0.0.1:{port}/x")],
        &["get", "/x", "-H", &format!("X-Api-Key {CANARY}")],
        &["get", "/x", "-H", &format!("X-Api-Key: {CANARY}\n")],
        &["get", "/x", "-H", &format!("Authorization: Bearer {CANARY}")],
    ] {
        let output = watched.check(arguments, &Answer::new(500, ""), &Answer::new(200, "fine"));
        assert!([Some(0), Some(2)].contains(&output.code), "{}", output.stderr);
    }
}

#[test]
fn a_refresh_that_is_cut_off_shows_no_secret() {
    let watched = Watched::start(0.001);
    let output =
        watched.cli.start(&["get", "/x", "-vv"]).finish_answering(&watched.endpoint, crate::support::Call::hang_up);
    clean(&output);
    assert_eq!(output.code, Some(6), "{}", output.stderr);
}

#[test]
fn token_is_the_one_command_that_prints_a_token() {
    let watched = Watched::start(900.0);
    let token = watched.cli.run(&["token", "-vv"]).expect(0);
    assert_eq!(token.text(), format!("access-{CANARY}-1\n"));
    assert!(!token.stderr.contains(CANARY), "{}", token.stderr);
}

#[test]
fn v_shows_the_heads_of_every_call_and_no_header_that_may_give_out_a_token() {
    let mut watched = Watched::start(0.001);
    let refresh = watched.tokens(900.0).with("X-Given", CANARY).with("Location", &format!("/{CANARY}"));
    let output = watched.check(&["get", "/x"], &refresh, &Answer::new(200, "fine").with("X-Request-Id", "7"));
    for line in [
        "> POST /refresh",
        "> idempotency-key: [redacted]",
        "< content-type: application/json",
        "> GET /x",
        "> authorization: Bearer [redacted]",
        "< x-request-id: 7",
    ] {
        assert!(output.stderr.contains(line), "{line} in {}", output.stderr);
    }
}

#[test]
fn a_refusal_that_repeats_what_was_sent_shows_and_keeps_none_of_it() {
    for which in 0..3 {
        let endpoint = Endpoint::start();
        let cli = Cli::new(&endpoint.url);
        cli.login_at(&endpoint, "access-canary", "refresh-canary", 0.001);
        let get = cli.start(&["get", "/x", "-vv"]);
        let call = endpoint.expect("POST", "/refresh");
        let key = call.header("Idempotency-Key").unwrap().to_owned();
        let secret = ["access-canary", "refresh-canary", &key][which];
        endpoint.refuse(call, Answer::error(403, &format!("what is {secret} to me?")));
        assert!(!get.finish().expect(7).stderr.contains(secret));
        let stamp = std::fs::read_to_string(cli.entry().with_extension("stamp")).unwrap();
        assert!(stamp.contains("\"refused\"") && !stamp.contains(secret), "{stamp}");
    }
}
