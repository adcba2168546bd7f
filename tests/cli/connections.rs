//! Connections: a refused answer gives its own back before the request is sent again.

use crate::support::{Answer, Call, logged_in};

const REQUESTS: usize = 20;

#[test]
fn a_burst_that_is_refused_needs_no_second_connection_a_request() {
    let (endpoint, cli) = logged_in();
    let before = endpoint.connections();
    let burst = cli.start(&["burst", "-n", &REQUESTS.to_string(), "--json", "/x"]);
    let refused: Vec<Call> = (0..REQUESTS).map(|_| endpoint.expect("GET", "/x")).collect();
    // Longer than what an HTTP client reads to its end by itself when nobody wants it.
    let page = "x".repeat(48 * 1024);
    for call in refused {
        call.reply(Answer::new(403, &page));
    }
    endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
    for _ in 0..REQUESTS {
        endpoint.expect("GET", "/x").reply(Answer::new(200, "fine"));
    }
    let summary = burst.finish().expect(0).json();
    assert_eq!((&summary["succeeded"], &summary["retried"]), (&REQUESTS.into(), &REQUESTS.into()));
    // The refresh may have come before the first connection was free again.
    assert!(endpoint.connections() - before <= REQUESTS + 1, "{} connections", endpoint.connections() - before);
}

#[test]
fn a_refusal_is_passed_on_whole_although_it_was_read_ahead() {
    let (endpoint, cli) = logged_in();
    for length in [0, 1, 64 * 1024, 64 * 1024 + 1, 1024 * 1024] {
        let body = "x".repeat(length);
        let get = cli.start(&["get", "/x"]);
        endpoint.expect("GET", "/x").reply(Answer::new(403, &body));
        if length == 0 {
            // Once; within the next thirty seconds refusals stand.
            endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
            endpoint.expect("GET", "/x").reply(Answer::new(403, &body));
        }
        assert!(get.finish().expect(4).text() == body, "{length}");
    }
}

#[test]
fn a_refusal_that_breaks_off_is_an_error_only_if_it_is_the_answer() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", "/x"]);
    endpoint.expect("GET", "/x").reply(Answer::new(403, "Inval").missing(5));
    endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
    endpoint.expect("GET", "/x").reply(Answer::new(200, "fine"));
    assert_eq!(get.finish().expect(0).text(), "fine");

    let get = cli.start(&["get", "/x"]);
    endpoint.expect("GET", "/x").reply(Answer::new(403, "Inval").missing(5));
    assert_eq!(get.finish().expect(6).text(), "Inval");
}

#[test]
fn a_refusal_whose_body_never_ends_keeps_nobody_from_a_newer_token() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", "/x", "--timeout", "5s"]);
    endpoint.expect("GET", "/x").reply(Answer::new(403, "no").stalling());
    endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
    endpoint.expect("GET", "/x").reply(Answer::new(200, "fine"));
    assert_eq!(get.finish().expect(0).text(), "fine");
}
