//! Requests of every method, what they carry, and what becomes of it when the token is refused.

use std::io::Write as _;
use std::process::Stdio;

use insta::{allow_duplicates, assert_snapshot};
use jiff::SignedDuration;

use crate::support::{Answer, Call, Cli, Endpoint, Running, logged_in};

const METHODS: [&str; 6] = ["get", "head", "post", "put", "patch", "delete"];
const KEPT: usize = 8 * 1024 * 1024;

/// Starts `post /x -d -` and hands it `length` bytes on a pipe.
fn post_from_a_pipe(cli: &Cli, length: usize) -> Running {
    let mut command = cli.command_of(env!("CARGO_BIN_EXE_authcli"));
    command.args(["post", "/x", "-d", "-"]).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    std::thread::spawn(move || {
        // It may end without reading all of it.
        let _ = pipe.write_all(&vec![b'x'; length]);
    });
    Running::adopt(child)
}

#[test]
fn every_method_is_sent_as_it_is_called() {
    let (endpoint, cli) = logged_in();
    for method in METHODS {
        let command = cli.start(&[method, "/x"]);
        let call = endpoint.expect(&method.to_uppercase(), "/x");
        assert_eq!((call.bearer(), call.body.len()), (Some("access-1"), 0));
        // RFC 9110 section 8.6: said of none where one is usual.
        let says_none = ["post", "put", "patch"].contains(&method).then_some("0");
        assert_eq!((call.header("Content-Length"), call.header("Content-Type")), (says_none, None), "{method}");
        call.reply(Answer::new(200, "the body"));
        let command = command.finish().expect(0).silent();
        if method != "head" {
            assert_eq!(command.text(), "the body", "{method}");
        }
    }
}

#[test]
fn head_prints_the_head() {
    let (endpoint, cli) = logged_in();
    for arguments in [["head", "/x"].as_slice(), &["head", "/x", "-i"]] {
        let head = cli.start(arguments);
        let call = endpoint.expect("HEAD", "/x");
        // The lengths of the answer as it is, not of a compressed one.
        assert_eq!(call.header("Accept-Encoding"), None);
        call.reply(Answer::new(200, "12345").with("X-One", "1").with("Content-Encoding", "gzip"));
        let head = head.finish().expect(0).silent();
        allow_duplicates! {
            assert_snapshot!(head.text().replace('\r', ""), @"
            HTTP/1.1 200 OK
            x-one: 1
            content-encoding: gzip
            content-length: 5
            ");
        }
        assert!(head.text().ends_with("\r\n\r\n"));
    }
    let head = cli.start(&["head", "/x"]);
    endpoint.expect("HEAD", "/x").reply(Answer::new(404, ""));
    let head = head.finish().expect(4);
    assert!(head.text().starts_with("HTTP/1.1 404 Not Found\r\n"), "{}", head.text());
    assert_snapshot!(head.stderr, @"error: HEAD /x: 404 Not Found");
}

#[test]
fn bodies_come_from_the_command_line_a_file_and_standard_input() {
    let (endpoint, cli) = logged_in();
    let file = cli.path("body");
    std::fs::write(&file, b"from\n\0a file\r\n").unwrap();
    let at_file = format!("@{}", file.display());
    for (arguments, input, expected) in [
        (["-d", "a=1&b=2"].as_slice(), "unread", b"a=1&b=2".as_slice()),
        (&["-d", "a=1", "--data", "b=2"], "", b"a=1&b=2"),
        (&["-d", ""], "", b""),
        (&["-d", "--dashes"], "", b"--dashes"),
        (&["-d", &at_file], "", b"from\n\0a file\r\n"),
        (&["-d", "-"], "from\na pipe", b"from\na pipe"),
        (&["-d", "@-"], "from\na pipe", b"from\na pipe"),
        (&["--form", "a=1", "--form", "b=x y&z=ü"], "", b"a=1&b=x+y%26z%3D%C3%BC"),
    ] {
        let post = cli.start_with_input(&[["post", "/x"].as_slice(), arguments].concat(), input);
        let call = endpoint.expect("POST", "/x");
        assert_eq!(call.body, expected, "{arguments:?}");
        assert_eq!(call.header("Content-Length"), Some(expected.len().to_string().as_str()));
        assert_eq!(call.header("Content-Type"), Some("application/x-www-form-urlencoded"));
        call.reply(Answer::new(201, ""));
        post.finish().expect(0);
    }
    // What is said with -H stands, and the method stays what it is.
    let get = cli.start(&["get", "/x", "-d", "{}", "-H", "Content-Type: application/json"]);
    let call = endpoint.expect("GET", "/x");
    assert_eq!((call.body.as_slice(), call.headers_named("Content-Type").count()), (b"{}".as_slice(), 1));
    assert_eq!(call.header("Content-Type"), Some("application/json"));
    call.reply(Answer::new(200, ""));
    get.finish().expect(0);
}

#[test]
fn json_is_checked_and_sent_as_it_was_written() {
    let (endpoint, cli) = logged_in();
    let file = cli.path("body.json");
    std::fs::write(&file, "{ \"n\": 12345678901234567890 }\n").unwrap();
    let at_file = format!("@{}", file.display());
    for (json, input, expected) in [
        ("{\"a\": [1]}", "", "{\"a\": [1]}"),
        ("-", "[]", "[]"),
        (at_file.as_str(), "", "{ \"n\": 12345678901234567890 }\n"),
    ] {
        let put = cli.start_with_input(&["put", "/x", "--json", json], input);
        let call = endpoint.expect("PUT", "/x");
        assert_eq!(call.body, expected.as_bytes());
        assert_eq!(call.header("Content-Type"), Some("application/json"));
        assert_eq!(call.header("Accept"), Some("application/json"));
        call.reply(Answer::new(200, ""));
        put.finish().expect(0);
    }
    let patch = cli.start(&["patch", "/x", "--json", "7", "-H", "Content-Type: application/merge-patch+json"]);
    let call = endpoint.expect("PATCH", "/x");
    assert_eq!(call.header("Content-Type"), Some("application/merge-patch+json"));
    call.reply(Answer::new(200, ""));
    patch.finish().expect(0);
}

#[test]
fn what_cannot_be_sent_is_refused_before_anything_is() {
    let (endpoint, cli) = logged_in();
    let before = endpoint.connections();
    std::fs::write(cli.home().join("bad.json"), "{\"canary\": nope}").unwrap();
    let refused = |arguments: &[&str]| {
        let refused = cli.run(&[["post", "/x"].as_slice(), arguments].concat()).expect(2).without_stdout();
        assert!(!refused.stderr.contains("canary"), "{}", refused.stderr);
        cli.settled(&refused.stderr)
    };
    assert_snapshot!(refused(&["--json", "{canary"]), @"error: what `--json` was given is not JSON: key must be a string at line 1 column 2");
    assert_snapshot!(refused(&["--json", "@bad.json"]), @"error: what `--json` was given is not JSON: expected ident at line 1 column 13");
    assert_snapshot!(refused(&["--json", ""]), @"error: what `--json` was given is not JSON: EOF while parsing a value at line 1 column 0");
    assert_snapshot!(refused(&["-d", "@missing"]), @"error: could not read missing: No such file or directory (os error 2)");
    assert_snapshot!(refused(&["-d", "@missing", "-d", "x"]), @"error: `-d` with @FILE or - can be given only once, and alone");
    assert_snapshot!(refused(&["--form", "canary"]), @"error: `--form` must read `NAME=VALUE`");
    assert_snapshot!(refused(&["--query", "canary"]), @"error: `--query` must read `NAME=VALUE`");
    assert_snapshot!(refused(&["-H", "Content-Length: 7"]), @"error: header `content-length` is set by authcli, from the body");
    assert_snapshot!(refused(&["--cacert", "missing.pem"]), @"error: could not read missing.pem: No such file or directory (os error 2)");
    assert_snapshot!(refused(&["--cacert", "bad.json"]), @"error: could not read bad.json: it holds no certificate in PEM form");
    for conflict in [["-d", "a", "--json", "1"], ["-d", "a", "--form", "a=b"], ["--json", "1", "--form", "a=b"]] {
        assert!(refused(&conflict).contains("cannot be used with"), "{conflict:?}");
    }
    assert!(refused(&["--follow"]).contains("unexpected argument '--follow'"));
    assert_eq!(endpoint.connections(), before);
}

#[test]
fn queries_are_appended_and_encoded() {
    let (endpoint, cli) = logged_in();
    for (path, expected) in
        [("/x", "/x?q=a+b%26c&q=%C3%BC%3D&empty="), ("/x?first=1", "/x?first=1&q=a+b%26c&q=%C3%BC%3D&empty=")]
    {
        let get = cli.start(&["get", path, "--query", "q=a b&c", "--query", "q=ü=", "--query", "empty="]);
        endpoint.expect("GET", expected).reply(Answer::new(200, ""));
        get.finish().expect(0);
    }
}

#[test]
fn a_body_is_sent_again_after_a_refresh() {
    let refused_once = |length: usize, start: &dyn Fn(&Cli) -> Running| {
        let (endpoint, cli) = logged_in();
        let post = start(&cli);
        let call = endpoint.expect("POST", "/x");
        assert_eq!((call.length, call.bearer()), (length as u64, Some("access-1")));
        call.reply(Answer::error(401, "expired"));
        endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
        let again = endpoint.expect("POST", "/x");
        assert_eq!((again.length, again.bearer()), (length as u64, Some("access-2")));
        assert!(again.body == vec![b'x'; length]);
        again.reply(Answer::new(200, "fine"));
        assert_eq!(post.finish().expect(0).silent().text(), "fine");
    };
    refused_once(4, &|cli| cli.start(&["post", "/x", "-d", "xxxx"]));
    // A file may be longer than what is kept in memory.
    refused_once(KEPT + 1, &|cli| {
        std::fs::write(cli.home().join("body"), vec![b'x'; KEPT + 1]).unwrap();
        cli.start(&["post", "/x", "-d", "@body"])
    });
    refused_once(100_000, &|cli| post_from_a_pipe(cli, 100_000));
    refused_once(KEPT, &|cli| post_from_a_pipe(cli, KEPT));
}

#[test]
fn what_is_longer_goes_once_and_a_refusal_is_final() {
    let (endpoint, cli) = logged_in();
    let post = post_from_a_pipe(&cli, KEPT + 1);
    let call = endpoint.expect("POST", "/x");
    assert_eq!((call.length, call.header("Content-Length")), (KEPT as u64 + 1, None));
    assert_eq!(call.header("Transfer-Encoding"), Some("chunked"));
    call.reply(Answer::error(401, "revoked"));
    // Whoever runs it again is to have better luck.
    endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
    let post = post.finish().expect(4);
    assert_eq!(post.text(), "{\"error\":\"revoked\"}");
    assert_snapshot!(post.stderr, @"
    error: POST /x: 401 Unauthorized
    hint: the token was replaced since, but a body that long is kept nowhere to be sent again; run the command once more
    ");
    let post = post_from_a_pipe(&cli, KEPT + 1);
    let call = endpoint.expect("POST", "/x");
    assert_eq!(call.bearer(), Some("access-2"));
    call.reply(Answer::error(403, "no right"));
    let post = post.finish().expect(4);
    assert!(post.stderr.contains("hint: refused with a token refreshed just now"), "{}", post.stderr);
}

#[test]
fn a_token_near_its_end_is_made_fresh_before_what_can_be_sent_once() {
    let (endpoint, cli) = logged_in();
    // Of fifteen minutes there is less than a minute left: long enough for other requests.
    cli.let_pass(SignedDuration::from_secs(850));
    let post = post_from_a_pipe(&cli, KEPT + 1);
    endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
    let call = endpoint.expect("POST", "/x");
    assert_eq!((call.bearer(), call.length), (Some("access-2"), KEPT as u64 + 1));
    call.reply(Answer::new(200, ""));
    post.finish().expect(0);

    // If that cannot be had, the one that lives is good enough.
    cli.let_pass(SignedDuration::from_secs(805));
    let post = post_from_a_pipe(&cli, KEPT + 1);
    let answer = |call: Call| {
        if call.path == "/refresh" {
            return call.reply(Answer::new(429, "not now"));
        }
        assert_eq!(call.bearer(), Some("access-2"));
        call.reply(Answer::new(200, "fine"));
    };
    assert_eq!(post.finish_answering(&endpoint, answer).expect(0).text(), "fine");
}

#[test]
fn of_json_that_is_too_long_to_be_kept_the_beginning_is_checked() {
    let (endpoint, cli) = logged_in();
    let before = endpoint.connections();
    // Nine megabytes, which nothing could make JSON of.
    let wrong = format!("[\"{}\" canary", "x".repeat(9_000_000));
    let refused = cli.run_with_input(&["post", "/x", "--json", "-"], &format!("{{canary{wrong}")).expect(2);
    assert!(
        refused.stderr.starts_with("error: what `--json` was given is not JSON: key must be"),
        "{}",
        refused.stderr
    );
    assert!(!refused.stderr.contains("canary"));
    assert_eq!(endpoint.connections(), before, "nothing was sent");
    // What comes later nobody has seen before it goes out.
    let post = cli.start_with_input(&["post", "/x", "--json", "-"], &wrong);
    let call = endpoint.expect("POST", "/x");
    assert_eq!(call.length, wrong.len() as u64);
    assert!(call.body == wrong.as_bytes(), "it was sent as it came");
    call.reply(Answer::new(200, ""));
    post.finish().expect(0);
}

#[test]
fn nobody_reads_standard_input_unasked_or_logged_out() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    // Its standard input never ends.
    for arguments in [["post", "/x", "-d", "-"], ["post", "/x", "--json", "-"]] {
        let mut command = cli.command_of(env!("CARGO_BIN_EXE_authcli"));
        command.args(arguments).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let _open = child.stdin.take();
        Running::adopt(child).finish().expect(7);
    }
}

#[test]
fn an_output_behind_a_symbolic_link_is_written_there_and_the_link_stays() {
    let (endpoint, cli) = logged_in();
    let (link, file) = (cli.path("link"), cli.home().join("file"));
    for before in [None, Some("old")] {
        if let Some(before) = before {
            std::fs::write(&file, before).unwrap();
        } else {
            std::os::unix::fs::symlink("home/file", &link).unwrap();
        }
        let get = cli.start(&["get", "/x", "-o", link.to_str().unwrap()]);
        endpoint.expect("GET", "/x").reply(Answer::new(200, "new"));
        get.finish().expect(0);
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
    }
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&link, &file).unwrap();
    // Before anything is sent.
    assert!(cli.run(&["get", "/x", "-o", link.to_str().unwrap()]).expect(1).stderr.contains("could not write"));
}
