//! Answers shown at a terminal: for people, and without what a terminal would obey. In a pipe they are untouched.

use crate::support::{Answer, Cli, Endpoint};
use crate::terminal::Terminal;

const JSON: &str = r#"{"b":[1.0,{}],"a":"x\u001b[31m"}"#;

fn at_terminal(endpoint: &Endpoint, cli: &Cli, command: &str, answer: Answer, code: i32) -> String {
    let mut terminal = Terminal::run(cli, command);
    endpoint.next().reply(answer);
    terminal.wait_for(&format!("ended with {code}"));
    let (_, shown) = terminal.seen.split_once('\n').unwrap();
    shown.split("ended with").next().unwrap().replace("\r\n", "\n")
}

fn user(endpoint: &Endpoint) -> Cli {
    let cli = Cli::new(&endpoint.url);
    cli.login_at(endpoint, "access-1", "refresh-1", 900.0);
    cli
}

#[test]
fn json_is_indented_and_coloured() {
    let endpoint = Endpoint::start();
    let cli = user(&endpoint);
    let json = || Answer::new(200, JSON).with("Content-Type", "application/problem+json; charset=utf-8");
    let plain = "{\n  \"b\": [\n    1.0,\n    {}\n  ],\n  \"a\": \"x\\u001b[31m\"\n}\n";
    let coloured = at_terminal(&endpoint, &cli, "$AUTHCLI get /x", json(), 0);
    assert!(coloured.starts_with("{\n  \u{1b}[34;1m\"b\"\u{1b}[0m: [\n    \u{1b}[36m1.0\u{1b}[0m"), "{coloured:?}");
    assert_eq!(at_terminal(&endpoint, &cli, "$AUTHCLI get /x --color never", json(), 0), plain);
    let cli = cli.with("NO_COLOR", "1");
    assert_eq!(at_terminal(&endpoint, &cli, "$AUTHCLI get /x", json(), 0), plain);

    // Whoever reads along gets what the server said, colours or not.
    for command in ["$AUTHCLI get /x | cat", "$AUTHCLI get /x --color always | cat", "$AUTHCLI get /x -o -"] {
        assert_eq!(at_terminal(&endpoint, &cli, command, json(), 0), JSON);
    }
    // Other text, what only says that it is JSON, and what is too long for it, come as they are.
    for (answer, shown) in [
        (Answer::new(200, JSON).with("Content-Type", "text/plain"), JSON.to_owned()),
        (Answer::new(200, "{\"b\":").with("Content-Type", "application/json"), "{\"b\":".to_owned()),
        (Answer::new(200, "").with("Content-Type", "application/json"), String::new()),
    ] {
        assert_eq!(at_terminal(&endpoint, &cli, "$AUTHCLI get /x", answer, 0), shown);
    }
    let long = format!("[{}1]", "1,".repeat(600_000));
    let answer = Answer::new(200, &long).with("Content-Type", "application/json");
    assert!(at_terminal(&endpoint, &cli, "$AUTHCLI get /x", answer, 0) == long);
}

#[test]
fn escapes_of_a_server_do_not_reach_the_terminal() {
    let endpoint = Endpoint::start();
    let cli = user(&endpoint);
    let text = "a\u{1b}[31mred\u{7}\u{9b}2J\r\nb\u{1b}]0;title\u{7}c";
    let answer = || Answer::new(200, text).with("X-Own", "one\u{9b}31m two").with("Content-Type", "text/html");
    let shown = at_terminal(&endpoint, &cli, "$AUTHCLI get /x -i", answer(), 0);
    assert!(
        shown.ends_with("x-own: one31m two\ncontent-type: text/html\ncontent-length: 28\n\na[31mred2J\nb]0;titlec"),
        "{shown:?}"
    );
    let json = Answer::new(200, "{\"a\":\"\u{9b}31m\"}").with("Content-Type", "application/json");
    assert_eq!(at_terminal(&endpoint, &cli, "$AUTHCLI get /x --color never", json, 0), "{\n  \"a\": \"31m\"\n}\n");
    let failed = at_terminal(&endpoint, &cli, "$AUTHCLI get /x --color never", Answer::new(404, "no\u{1b}c"), 4);
    assert_eq!(failed, "noc".to_owned() + "error: GET /x: 404 Not Found\n");
    let piped = at_terminal(&endpoint, &cli, "$AUTHCLI get /x -i | od -c | tr -s ' '", answer(), 0);
    assert!(piped.contains("033 [ 3 1 m"), "{piped}");
}

#[test]
fn binary_is_not_thrown_at_a_terminal() {
    let endpoint = Endpoint::start();
    let cli = user(&endpoint);
    let binary = || Answer::bytes(200, vec![0x7f, b'E', b'L', b'F', 0, 1, 2]);
    let refused = at_terminal(&endpoint, &cli, "$AUTHCLI get /x --color never", binary(), 1);
    assert_eq!(
        refused,
        "error: the body is binary, so it is not shown on a terminal\n\
         hint: write it to a file with `-o FILE`, or show it all the same with `-o -`\n"
    );
    let shown = at_terminal(&endpoint, &cli, "$AUTHCLI get /x -o -", binary(), 0);
    assert!(shown.contains("ELF\0"), "{shown:?}");
    let piped = at_terminal(&endpoint, &cli, "$AUTHCLI get /x | wc -c", binary(), 0);
    assert_eq!(piped.trim(), "7");
}

#[test]
fn a_download_shows_how_far_it_is_and_leaves_nothing_behind_when_it_is_ended() {
    let endpoint = Endpoint::start();
    let cli = user(&endpoint);
    let file = cli.path("download");
    let command = format!("$AUTHCLI get /x -o {}", file.display());
    let mut terminal = Terminal::run(&cli, &command);
    endpoint.expect("GET", "/x").reply(Answer::new(200, "half").stalling());
    terminal.wait_for("4 B/1004 B");
    terminal.type_in("\u{3}");
    terminal.wait_for("ended with 130");
    assert!(!file.exists());
    let left: Vec<_> = std::fs::read_dir(cli.path(".")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains(".part")), "{left:?}");

    let shown = at_terminal(&endpoint, &cli, &format!("{command} --color never"), Answer::new(200, "whole"), 0);
    assert!(shown.ends_with(&format!("Wrote 5 bytes to {}\n", file.display())), "{shown:?}");
    let quiet = at_terminal(&endpoint, &cli, &format!("{command} -q"), Answer::new(200, "quiet"), 0);
    assert_eq!(quiet, "");
}
