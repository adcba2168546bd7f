//! Every command in the situations that people get into: what it prints on which stream, and its exit code.
//!
//! The snapshots are what a person sees, for reading. What must hold of each situation has tests of its own.

use std::fmt::Write as _;
use std::fs;

use insta::assert_snapshot;
use jiff::Timestamp;

use crate::support::{Answer, Call, Cli, Endpoint, NOBODY, logged_in};

/// Commands that end by themselves, with what stands on standard input.
const COMMANDS: [(&[&str], &str); 21] = [
    (&["login", "-u", "admin", "--password-stdin"], "wrong\n"),
    (&["logout"], ""),
    (&["logout", "--all"], ""),
    (&["status"], ""),
    (&["status", "--json"], ""),
    (&["status", "--claims"], ""),
    (&["token"], ""),
    (&["refresh"], ""),
    (&["get", "/x"], ""),
    (&["head", "/x"], ""),
    (&["post", "/x", "-d", "a=b"], ""),
    (&["put", "/x", "--json", "{}"], ""),
    (&["patch", "/x", "--form", "a=b"], ""),
    (&["delete", "/x"], ""),
    (&["burst", "-n", "2", "-c", "1", "--ndjson", "/x"], ""),
    (&["batch"], "/x\n/no request\n"),
    (&["exec", "--", "true"], ""),
    (&["profile", "list"], ""),
    (&["profile", "show"], ""),
    (&["profile", "use", "default"], ""),
    (&["profile", "remove", "default"], ""),
];
/// It goes on where it can.
const PROXY: (&[&str], &str) = (&["proxy", "--listen", "127.0.0.1:0"], "");

/// A user in a situation.
type User = (Endpoint, Cli);

/// Runs `commands`, each with `options`, as a user who has just got into the situation, and returns what they came to.
fn told(
    commands: impl Iterator<Item = (&'static [&'static str], &'static str)>,
    options: &[&str],
    situation: impl Fn() -> User,
    answer: impl Fn(Call),
) -> String {
    let mut told = String::new();
    for (arguments, input) in commands {
        let (endpoint, cli) = situation();
        let running = cli.start_with_input(&[options, arguments].concat(), input);
        let output = running.finish_answering(&endpoint, &answer);
        writeln!(told, "$ authcli {}", [options, arguments].concat().join(" ")).unwrap();
        for line in without_times(&cli.settled(output.text())).lines() {
            writeln!(told, "{line}").unwrap();
        }
        for line in without_times(&cli.settled(&output.stderr)).lines() {
            writeln!(told, "! {line}").unwrap();
        }
        writeln!(told, "exit {}\n", output.code.unwrap()).unwrap();
    }
    told
}

/// Returns `text` with each number that has a point as N, and without times of day and how far they are.
fn without_times(text: &str) -> String {
    let lines = text.lines().map(|line| match line.find("  ends in ").or(line.find("  ended ")) {
        Some(end) => format!("{} [a time]\n", &line[..end]),
        None => format!("{line}\n"),
    });
    let text = lines.collect::<String>();
    let (mut shown, mut rest) = (String::new(), text.as_str());
    while let Some(start) = rest.find(|character: char| character.is_ascii_digit()) {
        let number = &rest[start..];
        // As in 1.5 and in 2026-01-01T00:00:00Z.
        let end = number.find(|part: char| !(part.is_ascii_digit() || ".:TZ-".contains(part))).unwrap_or(number.len());
        let is_decimal = number[..end].contains('.') && number[..end].parse::<f64>().is_ok();
        shown += &rest[..start];
        shown += if is_decimal || number[..end].parse::<Timestamp>().is_ok() { "N" } else { &number[..end] };
        rest = &number[end..];
    }
    shown + rest
}

fn all() -> impl Iterator<Item = (&'static [&'static str], &'static str)> {
    COMMANDS.into_iter().chain([PROXY])
}

#[expect(clippy::needless_pass_by_value, reason = "as answers take it")]
fn nothing(call: Call) {
    panic!("{} {} was sent", call.method, call.path);
}

/// A user whose access token is at its end.
fn at_its_end() -> User {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    (endpoint, cli)
}

#[test]
fn nobody_has_logged_in() {
    let situation = || {
        let endpoint = Endpoint::start();
        let cli = Cli::new(&endpoint.url);
        (endpoint, cli)
    };
    let login_alone = |call: Call| {
        assert_eq!(call.path, "/login");
        call.reply(Answer::new(401, r#"{"error":"Invalid username or password"}"#));
    };
    assert_snapshot!(told(all(), &[], situation, login_alone));
}

#[test]
fn the_server_is_away() {
    let situation = || {
        let (endpoint, cli) = at_its_end();
        let (url, config) = (endpoint.url.clone(), cli.configuration().join("config.toml"));
        fs::write(&config, fs::read_to_string(&config).unwrap().replace(&url, NOBODY)).unwrap();
        cli.change_stored(|stored| *stored = stored.to_string().replace(&url, NOBODY).parse().unwrap());
        (endpoint, cli.with("AUTHCLI_SERVER", NOBODY))
    };
    assert_snapshot!(told(COMMANDS.into_iter(), &[], situation, nothing));
}

#[test]
fn the_session_has_ended() {
    let refused = |call: Call| match call.path.as_str() {
        "/logout" => call.reply(Answer::new(204, "")),
        _ => call.reply(Answer::new(401, r#"{"error":"Invalid refresh token"}"#)),
    };
    assert_snapshot!(told(COMMANDS.into_iter(), &[], at_its_end, refused));
}

#[test]
fn the_account_lacks_the_right() {
    let forbidden = |call: Call| match call.path.as_str() {
        "/refresh" => call.reply(Answer::tokens("access-2", "refresh-2", 900.0)),
        "/logout" => call.reply(Answer::new(204, "")),
        _ => call.reply(Answer::new(403, r#"{"error":"Forbidden"}"#)),
    };
    assert_snapshot!(told(COMMANDS.into_iter(), &[], logged_in, forbidden));
}

#[test]
fn the_tokens_are_for_another_server() {
    assert_snapshot!(told(all(), &["--server", NOBODY], logged_in, |call| call.reply(Answer::new(204, ""))));
}

#[test]
fn there_is_no_such_profile() {
    assert_snapshot!(told(all(), &["--profile", "nope"], logged_in, |call| call.reply(Answer::new(401, ""))));
}

#[test]
fn the_configuration_is_broken() {
    let situation = || {
        let (endpoint, cli) = logged_in();
        let config = cli.configuration().join("config.toml");
        fs::write(&config, fs::read_to_string(&config).unwrap() + "allow-http = true\n").unwrap();
        (endpoint, cli)
    };
    assert_snapshot!(told(all(), &[], situation, nothing));
}

#[test]
fn the_stored_tokens_are_damaged() {
    let situation = || {
        let (endpoint, cli) = logged_in();
        fs::write(cli.entry(), "{\"version\":").unwrap();
        (endpoint, cli)
    };
    assert_snapshot!(told(all(), &[], situation, |call| call.reply(Answer::new(401, "{}"))));
}
