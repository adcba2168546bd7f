//! `get`: the body on standard output, the exit code from the status.

use insta::assert_snapshot;

use crate::support::{Answer, Cli, Running, logged_in};

#[test]
fn the_body_comes_byte_for_byte() {
    let (endpoint, cli) = logged_in();
    for body in ["", "no newline", "ends in one\n", "\u{1b}[31m\r\n\0 密码"] {
        let get = cli.start(&["get", "/x"]);
        let call = endpoint.expect("GET", "/x");
        assert_eq!(call.bearer(), Some("access-1"));
        call.reply(Answer::new(200, body));
        assert_eq!(get.finish().expect(0).silent().text(), body);
    }
}

#[test]
fn a_large_body_comes_whole() {
    let (endpoint, cli) = logged_in();
    let body = "0123456789abcdef".repeat(256 * 1024);
    let get = cli.start(&["get", "/x"]);
    endpoint.expect("GET", "/x").reply(Answer::new(200, &body));
    assert!(get.finish().expect(0).text() == body, "4 MiB differ");
}

#[test]
fn the_exit_code_tells_the_kind_of_status() {
    let (endpoint, cli) = logged_in();
    for (status, code) in [(200, 0), (201, 0), (204, 0), (304, 3), (400, 4), (404, 4), (410, 4), (500, 5), (503, 5)] {
        let get = cli.start(&["get", "/x"]);
        let body = if [204, 304].contains(&status) { "" } else { "the body" };
        endpoint.expect("GET", "/x").reply(Answer::new(status, body));
        let get = get.finish().expect(code);
        assert_eq!(get.text(), body);
        assert_eq!(get.stderr.lines().count(), usize::from(code != 0), "{}", get.stderr);

        let get = cli.start(&["get", "/x", "-q"]);
        endpoint.expect("GET", "/x").reply(Answer::new(status, body));
        assert_eq!(get.finish().expect(code).silent().text(), body);
    }
}

#[test]
fn a_failure_is_one_line_on_stderr() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", "/users/7?secret=1"]);
    endpoint.expect("GET", "/users/7?secret=1").reply(Answer::new(404, "no such user"));
    let get = get.finish().expect(4);
    assert_eq!(get.text(), "no such user");
    assert_snapshot!(get.stderr, @"error: GET /users/7: 404 Not Found");
}

#[test]
fn a_refusal_of_a_token_refreshed_just_now_comes_with_a_hint() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", "/admin"]);
    endpoint.expect("GET", "/admin").reply(Answer::error(403, "no"));
    endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
    let again = endpoint.expect("GET", "/admin");
    assert_eq!(again.bearer(), Some("access-2"));
    again.reply(Answer::error(403, "no"));
    let get = get.finish().expect(4);
    assert_eq!(get.text(), "{\"error\":\"no\"}");
    assert_snapshot!(get.stderr, @"
    error: GET /admin: 403 Forbidden
    hint: refused with a token refreshed just now; the account may lack the right
    ");

    // The next process knows that a refresh is of no use here.
    let get = cli.start(&["get", "/admin"]);
    endpoint.expect("GET", "/admin").reply(Answer::error(401, "no"));
    let get = get.finish().expect(4);
    assert_snapshot!(get.stderr, @"
    error: GET /admin: 401 Unauthorized
    hint: refused with a token refreshed just now; the account may lack the right
    ");
}

#[test]
fn a_missing_scope_is_never_refreshed() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", "/admin"]);
    let challenge = "Bearer realm=\"api\", error=\"insufficient_scope\", scope=\"admin\"";
    endpoint.expect("GET", "/admin").reply(Answer::error(403, "no").with("WWW-Authenticate", challenge));
    let get = get.finish().expect(4);
    assert_snapshot!(get.stderr, @"
    error: GET /admin: 403 Forbidden
      caused by: the server says: insufficient_scope: it asks for scope `admin`
    hint: the server says that the token lacks a scope
    ");
}

#[test]
fn a_refused_token_is_refreshed_and_the_request_sent_again() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", "/x", "-H", "X-Trace: 7"]);
    endpoint.expect("GET", "/x").reply(Answer::error(401, "revoked"));
    endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
    let again = endpoint.expect("GET", "/x");
    assert_eq!((again.bearer(), again.header("X-Trace")), (Some("access-2"), Some("7")));
    again.reply(Answer::new(200, "fine"));
    assert_eq!(get.finish().expect(0).silent().text(), "fine");
}

#[test]
fn include_prints_the_head_before_the_body() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", "-i", "/x"]);
    endpoint.expect("GET", "/x").reply(Answer::new(201, "body").with("X-One", "1").with("X-Two", "a: b"));
    let get = get.finish().expect(0).silent();
    let (head, body) = get.text().split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "body");
    let mut lines = head.split("\r\n");
    assert_eq!(lines.next(), Some("HTTP/1.1 201 Created"));
    let lines: Vec<&str> = lines.collect();
    for line in ["x-one: 1", "x-two: a: b", "content-length: 4"] {
        assert!(lines.contains(&line), "{line} in {lines:?}");
    }
}

#[test]
fn headers_are_sent_as_given() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", "/x", "-H", "Accept: text/plain", "-H", "X-Empty:", "--header", "X-Time: 12:30"]);
    let call = endpoint.expect("GET", "/x");
    assert_eq!(call.header("Accept"), Some("text/plain"));
    assert_eq!(call.header("X-Empty"), Some(""));
    assert_eq!(call.header("X-Time"), Some("12:30"));
    assert_eq!(call.headers_named("Accept").count(), 1);
    assert!(call.header("User-Agent").unwrap().starts_with("authcli/"));
    call.reply(Answer::new(200, ""));
    get.finish().expect(0);
}

#[test]
fn headers_that_cannot_be_sent_are_refused_before_anything_is() {
    let (endpoint, cli) = logged_in();
    let before = endpoint.connections();
    for (header, expected) in [
        ("canary", "a header must read `Name: value`"),
        ("Bad Name: canary", "holds characters that no header name may hold"),
        ("X-Bad: can\nary", "the value of header `x-bad`"),
        ("Authorization: Bearer canary", "`Authorization` is set by authcli"),
    ] {
        let refused = cli.run(&["get", "/x", "-H", header]).expect(2).without_stdout();
        assert!(refused.stderr.contains(expected), "{}", refused.stderr);
        assert!(!refused.stderr.contains("canary"), "{}", refused.stderr);
    }
    assert_eq!(endpoint.connections(), before);
}

#[test]
fn output_replaces_a_file_whole() {
    let (endpoint, cli) = logged_in();
    let path = cli.path("report");
    std::fs::write(&path, "a longer text that stood here before").unwrap();
    let get = cli.start(&["get", "/x", "-o", path.to_str().unwrap()]);
    let call = endpoint.expect("GET", "/x");
    // Not before the answer is there.
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a longer text that stood here before");
    call.reply(Answer::new(200, "new"));
    let get = get.finish().expect(0).without_stdout();
    assert_snapshot!(cli.settled(&get.stderr), @"Wrote 3 bytes to [home]/report");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(names_in(&cli), ["config", "home", "report"], "nothing temporary is left");
}

#[test]
fn output_is_left_alone_on_failure_and_the_body_goes_to_stdout() {
    let (endpoint, cli) = logged_in();
    let path = cli.path("report");
    std::fs::write(&path, "before").unwrap();
    for (status, code) in [(302, 3), (404, 4), (500, 5)] {
        let get = cli.start(&["get", "/x", "-o", path.to_str().unwrap()]);
        endpoint.expect("GET", "/x").reply(Answer::new(status, "why not"));
        assert_eq!(get.finish().expect(code).text(), "why not");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before");
    }
    let get = cli.start(&["get", "/x", "-o", path.to_str().unwrap()]);
    endpoint.expect("GET", "/x").reply(Answer::new(200, "half").missing(4));
    get.finish().expect(6);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "before");
    assert_eq!(names_in(&cli), ["config", "home", "report"]);
}

#[test]
fn output_that_cannot_be_written_is_told() {
    let (endpoint, cli) = logged_in();
    let before = endpoint.connections();
    let mut told = String::new();
    for path in [cli.path("no/such/directory"), cli.home(), cli.path("new/")] {
        let refused = cli.run(&["delete", "/x", "-o", path.to_str().unwrap()]).expect(1).without_stdout();
        told.push_str(&cli.settled(&refused.stderr));
    }
    assert_snapshot!(told, @r"
    error: could not write [home]/no/such/directory
      caused by: No such file or directory (os error 2)
    error: could not write [home]/home
      caused by: Is a directory (os error 21)
    error: could not write [home]/new/
      caused by: is a directory
    ");
    assert_eq!(endpoint.connections(), before, "nothing was sent");
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_may_not_be_written_is_not_replaced() {
    let (endpoint, cli) = logged_in();
    let path = cli.path("report");
    std::fs::write(&path, "before").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o444)).unwrap();
    let before = endpoint.connections();
    // Root may write everything; in a namespace that names nobody it is a user like others.
    let mut get = cli.command_of("unshare");
    get.args(["--user", env!("CARGO_BIN_EXE_authcli"), "get", "/x", "-o", path.to_str().unwrap()]);
    let get = Running::start(get).finish().expect(1).without_stdout();
    assert_snapshot!(cli.settled(&get.stderr), @r"
    error: could not write [home]/report
      caused by: Permission denied (os error 13)
    ");
    assert_eq!(endpoint.connections(), before, "nothing was sent");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "before");
    assert_eq!(names_in(&cli), ["config", "home", "report"]);
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_replaced_is_written() {
    let (endpoint, cli) = logged_in();
    let path = cli.path("report");
    std::fs::write(&path, "a longer text that stood here before").unwrap();
    // A file that is mounted, as containers get theirs.
    let mut get = cli.command_of("unshare");
    get.args([
        "--map-root-user",
        "--mount",
        "sh",
        "-ec",
        "mount --bind \"$2\" \"$2\"; exec \"$1\" get /x -o \"$2\"",
        "sh",
    ]);
    get.arg(env!("CARGO_BIN_EXE_authcli")).arg(&path);
    let get = Running::start(get);
    endpoint.expect("GET", "/x").reply(Answer::new(200, "new"));
    get.finish().expect(0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(names_in(&cli), ["config", "home", "report"]);
}

#[cfg(target_os = "linux")]
#[test]
fn output_to_memory_is_a_file_like_others() {
    let (endpoint, cli) = logged_in();
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = directory.path().join("new");
    let get = cli.start(&["get", "/x", "-o", path.to_str().unwrap()]);
    endpoint.expect("GET", "/x").reply(Answer::new(200, "new"));
    get.finish().expect(0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
}

#[cfg(target_os = "linux")]
#[test]
fn output_to_what_is_open_goes_there() {
    let (endpoint, cli) = logged_in();
    for output in ["/dev/stdout", "/dev/fd/3"] {
        let mut shell = cli.command_of("sh");
        shell.args(["-c", "echo before > \"$1\"; exec \"$0\" get /x -o \"$2\" >> \"$1\" 3>> \"$1\""]);
        shell.arg(env!("CARGO_BIN_EXE_authcli")).arg(cli.path("report")).arg(output);
        let get = Running::start(shell);
        let call = endpoint.expect("GET", "/x");
        let open = std::fs::File::open(cli.path("report")).unwrap();
        call.reply(Answer::new(200, "body"));
        get.finish().expect(0);
        let written = std::io::read_to_string(open).unwrap();
        // By its number it is opened anew, and so from its beginning, as the shell's `>` does.
        assert_eq!(written, if output == "/dev/stdout" { "before\nbody" } else { "body" }, "{output}");
        assert_eq!(names_in(&cli), ["config", "home", "report"]);
    }
}

#[test]
fn a_timeout_bounds_the_whole_answer() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", "/x", "--timeout", "200ms"]);
    let held = endpoint.expect("GET", "/x");
    let get = get.finish().expect(6).without_stdout();
    assert_snapshot!(cli.settled(&get.stderr), @"error: no answer from [server] within 0.2 s");
    held.hang_up();
}

#[test]
fn a_timeout_bounds_a_body_that_never_ends() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", "/x", "--timeout", "300ms"]);
    endpoint.expect("GET", "/x").reply(Answer::new(200, "1").stalling());
    let get = get.finish().expect(6);
    assert_eq!(get.text(), "1");
    assert_snapshot!(cli.settled(&get.stderr), @"error: no answer from [server] within 0.3 s");
}

#[test]
fn a_connection_that_breaks_is_told() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", "/x"]);
    endpoint.expect("GET", "/x").hang_up();
    let get = get.finish().expect(6).without_stdout();
    assert!(cli.settled(&get.stderr).starts_with("error: could not get an answer from [server]\n"), "{}", get.stderr);
    assert!(get.stderr.contains("\nhint: "), "{}", get.stderr);
}

#[test]
fn a_body_that_is_cut_short_is_told() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", "/x"]);
    endpoint.expect("GET", "/x").reply(Answer::new(200, "half of it").missing(10));
    let get = get.finish().expect(6);
    assert_eq!(get.text(), "half of it");
    assert!(cli.settled(&get.stderr).starts_with("error: the answer of [server] broke off\n"), "{}", get.stderr);
    // It is running: it had begun to answer.
    assert!(!get.stderr.contains("hint: "), "{}", get.stderr);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let (endpoint, cli) = logged_in();
    let body = "line\n".repeat(1024 * 1024);
    // One that is gone before anything is written, and one that goes in the middle, as `head -1` does.
    for reads_first in [false, true] {
        let (get, mut stdout) = cli.start_with_stdout(&["get", "/x"]);
        let call = endpoint.expect("GET", "/x");
        if reads_first {
            call.reply(Answer::new(200, &body));
            let mut line = [0; 5];
            std::io::Read::read_exact(&mut stdout, &mut line).unwrap();
            assert_eq!(&line, b"line\n");
            drop(stdout);
        } else {
            drop(stdout);
            call.reply(Answer::new(200, &body));
        }
        get.finish().expect(0).silent();
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error_for_commands_that_print_little() {
    let (_endpoint, cli) = logged_in();
    for arguments in [["status"].as_slice(), &["status", "--json"], &["token"], &["get", "--help"]] {
        let (command, stdout) = cli.start_with_stdout(arguments);
        drop(stdout);
        command.finish().expect(0).silent();
    }
}

fn names_in(cli: &Cli) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(cli.path("."))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_log_that_nobody_reads_is_no_failure() {
    let (endpoint, cli) = logged_in();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = cli.command_of(env!("CARGO_BIN_EXE_authcli"));
    command.args(["-vv", "get", "/x"]).stderr(writer);
    let get = Running::start(command);
    endpoint.expect("GET", "/x").reply(Answer::new(200, "fine"));
    assert_eq!(get.finish().expect(0).text(), "fine");
}

#[test]
fn a_timeout_beyond_the_end_of_the_clock_is_none() {
    let (endpoint, cli) = logged_in();
    for arguments in [["get", "/x", "--timeout", "1e19"].as_slice(), &["burst", "-n", "1", "/x", "--timeout", "1e19"]] {
        let process = cli.start(arguments);
        endpoint.expect("GET", "/x").reply(Answer::new(200, ""));
        process.finish().expect(0);
    }
}
