//! `--retry`: what is tried again, and what must never happen twice.

use std::time::{Duration, Instant};

use crate::support::{Answer, logged_in};

#[test]
fn what_may_be_over_in_a_moment_is_tried_again() {
    let (endpoint, cli) = logged_in();
    for (method, statuses) in [("get", [408, 429]), ("head", [500, 502]), ("put", [503, 504]), ("delete", [429, 503])] {
        let name = method.to_uppercase();
        let command = cli.start(&[method, "/x", "--retry", "2"]);
        for status in statuses {
            endpoint.expect(&name, "/x").reply(Answer::new(status, "").with("Retry-After", "0"));
        }
        endpoint.expect(&name, "/x").reply(Answer::new(200, "fine"));
        let command = command.finish().expect(0);
        assert_eq!(command.stderr.lines().count(), 2, "{}", command.stderr);
        let told = format!("warning: the server answered {}", statuses[0]);
        assert!(
            command.stderr.starts_with(&told) && command.stderr.contains("; trying again in "),
            "{}",
            command.stderr
        );
    }
}

#[test]
fn a_server_that_asks_for_no_pause_is_given_one() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", "/x", "--retry", "2"]);
    endpoint.expect("GET", "/x").reply(Answer::new(503, "").with("Retry-After", "0"));
    let start = Instant::now();
    endpoint.expect("GET", "/x").reply(Answer::new(503, "").with("Retry-After", "0"));
    endpoint.expect("GET", "/x").reply(Answer::new(200, ""));
    // Their own two: a quarter and half of a second.
    assert!(start.elapsed() >= Duration::from_millis(700), "{:?}", start.elapsed());
    get.finish().expect(0);
}

#[test]
fn a_pause_beyond_all_clocks_is_not_begun() {
    let (endpoint, cli) = logged_in();
    let longest = u64::MAX.to_string();
    for bound in [["--timeout", "5s"].as_slice(), &[]] {
        let get = cli.start(&[["get", "/x", "--retry", "1"].as_slice(), bound].concat());
        endpoint.expect("GET", "/x").reply(Answer::new(503, "later").with("Retry-After", &longest));
        assert_eq!(get.finish().expect(5).text(), "later");
    }
    let burst = cli.start(&["burst", "/x", "-n", "1", "--retry", "1", "--timeout", "5s", "--json"]);
    endpoint.expect("GET", "/x").reply(Answer::new(503, "").with("Retry-After", &longest));
    assert_eq!(burst.finish().expect(5).json()["statuses"]["503"], 1);
}

#[test]
fn an_address_that_no_request_can_hold_is_a_mistake_and_not_a_network_failure() {
    let (_endpoint, cli) = logged_in();
    let (long, query) = (format!("/{}", "a".repeat(70_000)), format!("q={}", "a".repeat(70_000)));
    for arguments in [["get", &long].as_slice(), &["get", "/x", "--query", &query]] {
        let get = cli.run(&[arguments, &["--retry", "2"]].concat()).expect(2);
        assert_eq!(get.stderr, "error: the URL is longer than the 65534 bytes that a request can hold\n");
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

#[test]
fn a_download_that_breaks_off_begins_anew() {
    let (endpoint, cli) = logged_in();
    let path = cli.path("report");
    let get = cli.start(&["get", "/x", "-o", path.to_str().unwrap(), "--retry", "2"]);
    endpoint.expect("GET", "/x").reply(Answer::new(200, "more than the").missing(4));
    endpoint.expect("GET", "/x").reply(Answer::new(503, "").with("Retry-After", "0"));
    endpoint.expect("GET", "/x").reply(Answer::new(200, "whole"));
    let get = get.finish().expect(0).without_stdout();
    let told: Vec<_> = get.stderr.lines().map(|line| line.split(';').next().unwrap()).collect();
    let expected = [
        "warning: the answer broke off",
        "warning: the server answered 503 Service Unavailable",
        &format!("Wrote 5 bytes to {}", path.display()),
    ];
    assert_eq!(told, expected);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole");
}

#[test]
fn what_has_been_seen_or_done_is_not_begun_anew() {
    let (endpoint, cli) = logged_in();
    let path = cli.path("report");
    // Half of it is in the pipe; and what has been done is done.
    let to_file = ["-o", path.to_str().unwrap()];
    let delete = [["delete", "/x"], to_file].concat();
    for arguments in [["get", "/x"].as_slice(), &[["post", "/x"], to_file].concat(), &delete] {
        let command = cli.start(&[arguments, &["--retry", "2"]].concat());
        endpoint.expect(&arguments[0].to_uppercase(), "/x").reply(Answer::new(200, "half").missing(4));
        let command = command.finish().expect(6);
        assert_eq!(command.text(), if arguments[0] == "get" { "half" } else { "" });
    }
}

#[test]
fn an_answer_that_breaks_off_is_tried_again_where_many_are_sent() {
    let (endpoint, cli) = logged_in();
    let batch = cli.start_with_input(&["batch", "--retry", "1"], "/x\n");
    endpoint.expect("GET", "/x").reply(Answer::new(200, "half").missing(4));
    endpoint.expect("GET", "/x").reply(Answer::new(200, "whole"));
    assert_eq!(batch.finish().expect(0).json()["body"], "whole");

    let burst = cli.start(&["burst", "/x", "-n", "1", "--retry", "1", "--json"]);
    endpoint.expect("GET", "/x").reply(Answer::new(200, "half").missing(4));
    endpoint.expect("GET", "/x").reply(Answer::new(200, "whole"));
    assert_eq!(burst.finish().expect(0).json()["succeeded"], 1);
}
