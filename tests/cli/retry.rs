//! `--retry`: what is tried again, and what must never happen twice.

use std::time::{Duration, Instant};

use crate::support::{Answer, logged_in};

#[test]
fn what_may_be_over_in_a_moment_is_tried_again() {
    let (endpoint, cli) = logged_in();
    for method in ["get", "head", "put", "delete"] {
        let name = method.to_uppercase();
        let command = cli.start(&[method, "/x", "--retry", "6"]);
        for status in [408, 429, 500, 502, 503] {
            endpoint.expect(&name, "/x").reply(Answer::new(status, "").with("Retry-After", "0"));
        }
        endpoint.expect(&name, "/x").reply(Answer::new(504, "").with("Retry-After", "0"));
        endpoint.expect(&name, "/x").reply(Answer::new(200, "fine"));
        let command = command.finish().expect(0);
        assert_eq!(command.stderr.lines().count(), 6, "{}", command.stderr);
        assert_eq!(
            command.stderr.lines().next(),
            Some("warning: the server answered 408 Request Timeout; trying again in 0.0 s")
        );
    }
}

#[test]
fn other_answers_are_final() {
    let (endpoint, cli) = logged_in();
    for (status, code) in [(400, 4), (404, 4), (409, 4), (501, 5), (302, 3)] {
        let get = cli.start(&["get", "/x", "--retry", "3"]);
        endpoint.expect("GET", "/x").reply(Answer::new(status, ""));
        get.finish().expect(code);
    }
}

#[test]
fn the_last_try_is_the_answer() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", "/x", "--retry", "1", "-q"]);
    endpoint.expect("GET", "/x").reply(Answer::new(503, "first").with("Retry-After", "0"));
    endpoint.expect("GET", "/x").reply(Answer::new(503, "second").with("Retry-After", "0"));
    assert_eq!(get.finish().expect(5).silent().text(), "second");
}

#[test]
fn no_post_happens_twice() {
    let (endpoint, cli) = logged_in();
    for method in ["post", "patch"] {
        let command = cli.start(&[method, "/x", "--retry", "3", "-d", "x"]);
        endpoint.expect(&method.to_uppercase(), "/x").reply(Answer::new(503, "").with("Retry-After", "0"));
        command.finish().expect(5);
        let command = cli.start(&[method, "/x", "--retry", "3", "-d", "x"]);
        endpoint.expect(&method.to_uppercase(), "/x").hang_up();
        command.finish().expect(6);
    }
    // Unless the server is told how to recognise it.
    let post = cli.start(&["post", "/x", "--retry", "3", "-d", "x", "-H", "Idempotency-Key: 7"]);
    endpoint.expect("POST", "/x").hang_up();
    endpoint.expect("POST", "/x").reply(Answer::new(200, ""));
    post.finish().expect(0);
}

#[test]
fn a_connection_that_breaks_or_never_comes_about_is_tried_again() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", "/x", "--retry", "1"]);
    endpoint.expect("GET", "/x").hang_up();
    endpoint.expect("GET", "/x").reply(Answer::new(200, "fine"));
    let get = get.finish().expect(0);
    assert!(get.stderr.starts_with("warning: the server gave no answer; trying again in 0."), "{}", get.stderr);

    // Nothing was sent, so a POST is no exception. Nobody listens there any more.
    drop(endpoint);
    for method in ["get", "post"] {
        let command = cli.run(&[method, "/x", "--retry", "2"]).expect(6);
        let warnings = command.stderr.matches("warning: the server could not be reached; trying again in").count();
        assert_eq!(warnings, 2, "{}", command.stderr);
    }
}

#[test]
fn retry_after_is_kept_to_and_a_timeout_holds_for_all_tries() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", "/x", "--retry", "1"]);
    endpoint.expect("GET", "/x").reply(Answer::new(503, "").with("Retry-After", "1"));
    let start = Instant::now();
    endpoint.expect("GET", "/x").reply(Answer::new(200, ""));
    assert!(start.elapsed() > Duration::from_millis(900), "{:?}", start.elapsed());
    get.finish().expect(0);

    // A pause that does not fit is not begun, and nobody waits for hours.
    for arguments in [["--timeout", "20s"].as_slice(), &[]] {
        let wait = if arguments.is_empty() { "301" } else { "30" };
        let get = cli.start(&[["get", "/x", "--retry", "5"].as_slice(), arguments].concat());
        endpoint.expect("GET", "/x").reply(Answer::new(429, "later").with("Retry-After", wait));
        let get = get.finish().expect(4);
        assert_eq!(get.text(), "later");
        assert_eq!(get.stderr, "error: GET /x: 429 Too Many Requests\n");
    }
    let get = cli.start(&["get", "/x", "--retry", "5", "--timeout", "1s"]);
    endpoint.expect("GET", "/x").reply(Answer::new(503, "").with("Retry-After", "0"));
    let held = endpoint.expect("GET", "/x");
    let get = get.finish().expect(6);
    assert!(cli.settled(&get.stderr).contains("error: no answer from [server] within 1 s"), "{}", get.stderr);
    held.hang_up();
}
