//! Many requests at once: one refresh.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Call, Cli, Endpoint, Running, Server, logged_in};

/// Fires `count` requests on a token that is at its end; the tokens that replace it outlive the test.
fn on_an_expired_token(count: u64) {
    let mut server = Server::with_access_ttl("1ms");
    let cli = Cli::new(&server.url);
    cli.login();
    server.restart("15m");
    let summary = cli.run(&["burst", "-n", &count.to_string(), "--json"]).expect(0).silent().json();
    assert_eq!(summary["requests"], count);
    assert_eq!(summary["succeeded"], count);
    assert_eq!(summary["failed"], 0);
    assert_eq!(summary["statuses"], json!({"200": count}));
    assert_eq!(summary["errors"], json!({}));
    assert_eq!(summary["refreshes"], 1);
    assert_eq!(summary["adopted"], 0);
    assert_eq!(server.refreshes(), 1, "the server has counted too");
}

#[test]
fn ten_requests_on_an_expired_token_cost_one_refresh() {
    on_an_expired_token(10);
}

#[test]
fn a_hundred_requests_on_an_expired_token_cost_one_refresh() {
    on_an_expired_token(100);
}

#[test]
fn a_thousand_requests_on_an_expired_token_cost_one_refresh() {
    on_an_expired_token(1000);
}

#[cfg(unix)]
#[test]
fn no_more_are_sent_at_a_time_than_files_may_be_open() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let mut shell = cli.command_of("sh");
    shell.args(["-c", "ulimit -n 72; exec \"$0\" burst -n 300 --json", env!("CARGO_BIN_EXE_authcli")]);
    let summary = Running::start(shell).finish().expect(0).json();
    assert_eq!(summary["succeeded"], 300, "{summary}");
    assert!((1..=40).contains(&summary["concurrency"].as_u64().unwrap()), "{summary}");
}

#[test]
fn a_token_that_both_clocks_call_expired_costs_one_refresh_for_each_of_its_lives() {
    let server = Server::with_access_ttl("2s");
    let cli = Cli::new(&server.url);
    cli.login();
    // The one wait for a real clock: two seconds of the token's life, rounded up to a whole one by the server.
    std::thread::sleep(Duration::from_secs(3));
    // A hundred at a time: on a busy machine a thousand of them would each take longer than a token lives.
    let summary = cli.run(&["burst", "-n", "1000", "-c", "100", "--json"]).expect(0).silent().json();
    assert_eq!(summary["succeeded"], 1000, "{summary}");
    let refreshes = summary["refreshes"].as_u64().unwrap();
    assert_eq!(server.refreshes() as u64, refreshes, "one that was under way at the end is waited for: {summary}");
    let lives = Duration::from_secs_f64(summary["elapsed_ms"].as_f64().unwrap() / 1000.0).as_secs_f64() / (0.75 * 2.0);
    // Written so that no cast is needed: one, and one more for each 0.75 of a life that the run lasted.
    assert!(refreshes >= 1 && (refreshes - 1) <= Duration::from_secs_f64(lives).as_secs(), "{summary}");
}

#[test]
fn the_json_has_the_fields_of_the_contract() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let output = cli.run(&["burst", "-n", "20", "-c", "4", "--json"]).expect(0).silent();
    assert_eq!(output.text().lines().count(), 1);
    let summary = output.json();
    assert_eq!(
        names(&summary),
        [
            "adopted",
            "concurrency",
            "elapsed_ms",
            "errors",
            "failed",
            "latency_ms",
            "refreshes",
            "requests",
            "requests_per_second",
            "retried",
            "statuses",
            "succeeded"
        ]
    );
    let latency = &summary["latency_ms"];
    assert_eq!(names(latency), ["max", "mean", "min", "p50", "p90", "p95", "p99", "p999"]);
    assert_eq!((&summary["requests"], &summary["concurrency"]), (&json!(20), &json!(4)));
    assert_eq!((&summary["refreshes"], &summary["retried"]), (&json!(0), &json!(0)));
    let number = |value: &Value| value.as_f64().unwrap();
    assert!(number(&summary["elapsed_ms"]) > 0.0 && number(&summary["requests_per_second"]) > 0.0, "{summary}");
    let order = ["min", "p50", "p90", "p95", "p99", "p999", "max"].map(|name| number(&latency[name]));
    assert!(order.is_sorted() && order[0] > 0.0, "{latency}");
}

fn names(value: &Value) -> Vec<&str> {
    let names: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    names.into_iter().collect()
}

#[test]
fn the_summary_for_people_tells_the_same() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let output = cli.run(&["burst", "-n", "5"]).expect(0).silent();
    let rows: Vec<(&str, &str)> = output.text().lines().filter_map(|line| line.split_once("  ")).collect();
    let value = |name: &str| {
        let row = rows.iter().find(|row| row.0.trim() == name);
        row.unwrap_or_else(|| panic!("{name} in {}", output.text())).1.trim()
    };
    assert_eq!(value("requests"), "5 (5 at a time)");
    assert_eq!(value("succeeded"), "5");
    assert_eq!(value("failed"), "0");
    assert_eq!(value("statuses"), "200 × 5");
    assert!(value("refreshes").starts_with("0 sent"), "{}", value("refreshes"));
    assert!(value("latency").starts_with("p50 "), "{}", value("latency"));
}

#[test]
fn path_headers_and_timeout_are_those_of_get() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    let burst = cli.start(&["burst", "-n", "3", "/users?x=1", "-H", "X-Trace: 7", "--json"]);
    let summary = burst.finish_answering(&endpoint, |call| {
        assert_eq!((call.method.as_str(), call.path.as_str()), ("GET", "/users?x=1"));
        assert_eq!((call.bearer(), call.header("X-Trace")), (Some("access-1"), Some("7")));
        call.reply(Answer::new(200, "body"));
    });
    assert_eq!(summary.expect(0).json()["succeeded"], 3);

    let burst = cli.start(&["burst", "-n", "2", "--timeout", "200ms", "--json"]);
    let held = [endpoint.expect("GET", "/protected"), endpoint.expect("GET", "/protected")];
    let summary = burst.finish().expect(6).json();
    assert_eq!((&summary["succeeded"], &summary["failed"]), (&json!(0), &json!(2)));
    let errors = summary["errors"].as_object().unwrap();
    assert_eq!(errors.values().collect::<Vec<_>>(), [&json!(2)], "{summary}");
    held.into_iter().for_each(Call::hang_up);
}

#[test]
fn no_more_requests_at_a_time_than_asked_for() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    let burst = cli.start(&["burst", "-n", "7", "-c", "3"]);
    // Three wait; a fourth comes only when one of them has been answered.
    let mut waiting: Vec<Call> = (0..3).map(|_| endpoint.expect("GET", "/protected")).collect();
    for _ in 3..7 {
        // That something does not come can only be waited for by the clock.
        assert!(endpoint.poll(Duration::from_millis(50)).is_none(), "a fourth at a time");
        waiting.remove(0).reply(Answer::new(200, ""));
        waiting.push(endpoint.expect("GET", "/protected"));
    }
    for call in waiting {
        call.reply(Answer::new(200, ""));
    }
    burst.finish().expect(0);
}

#[test]
fn refusals_that_come_late_do_not_refresh_again() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    let burst = cli.start(&["burst", "-n", "4", "--json"]);
    let mut first: Vec<Call> = (0..4).map(|_| endpoint.expect("GET", "/protected")).collect();
    assert!(first.iter().all(|call| call.bearer() == Some("access-1")));
    first.remove(0).reply(Answer::error(403, "Invalid token"));
    endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
    let again = endpoint.expect("GET", "/protected");
    assert_eq!(again.bearer(), Some("access-2"));
    again.reply(Answer::new(200, ""));
    // The refresh is over and done with. One by one the others learn that their token was refused.
    for straggler in first {
        straggler.reply(Answer::error(403, "Invalid token"));
        let again = endpoint.expect("GET", "/protected");
        assert_eq!(again.bearer(), Some("access-2"));
        again.reply(Answer::new(200, ""));
    }
    let summary = burst.finish().expect(0).silent().json();
    assert_eq!((&summary["succeeded"], &summary["refreshes"], &summary["retried"]), (&json!(4), &json!(1), &json!(4)));
}

#[test]
fn all_refused_at_once_wait_for_one_refresh() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    let burst = cli.start(&["burst", "-n", "50", "--json"]);
    let first: Vec<Call> = (0..50).map(|_| endpoint.expect("GET", "/protected")).collect();
    for call in first {
        call.reply(Answer::error(401, "expired"));
    }
    let refresh = endpoint.expect("POST", "/refresh");
    refresh.reply(Answer::tokens("access-2", "refresh-2", 900.0));
    for _ in 0..50 {
        let again = endpoint.expect("GET", "/protected");
        assert_eq!(again.bearer(), Some("access-2"));
        again.reply(Answer::new(200, ""));
    }
    let summary = burst.finish().expect(0).json();
    assert_eq!(
        (&summary["succeeded"], &summary["refreshes"], &summary["retried"]),
        (&json!(50), &json!(1), &json!(50))
    );
}

#[test]
fn a_server_that_always_refuses_costs_one_refresh() {
    for status in [401, 403] {
        let (endpoint, cli) = logged_in();
        // A hundred at a time, so that refusals keep coming long after the refresh.
        let burst = cli.start(&["burst", "-n", "1000", "-c", "100", "--json"]);
        let mut refreshes = 0;
        let summary = burst.finish_answering(&endpoint, |call| match call.path.as_str() {
            "/refresh" => {
                refreshes += 1;
                call.reply(Answer::tokens("access-2", "refresh-2", 900.0));
            }
            _ => call.reply(Answer::error(status, "Forbidden")),
        });
        let summary = summary.expect(4).json();
        assert_eq!((&summary["requests"], &summary["failed"]), (&json!(1000), &json!(1000)));
        assert_eq!(summary["statuses"], json!({status.to_string(): 1000}));
        assert_eq!(refreshes, 1);
        assert_eq!(summary["refreshes"], refreshes);
    }
}

#[test]
fn a_refresh_that_is_not_to_be_had_is_tried_three_times_for_a_thousand_requests() {
    for answer in [Answer::error(503, "away"), Answer::error(503, "away").with("Retry-After", "0")] {
        let endpoint = Endpoint::start();
        let cli = Cli::new(&endpoint.url);
        cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
        let burst = cli.start(&["burst", "-n", "1000", "--json"]);
        let mut refreshes = 0;
        let burst = burst.finish_answering(&endpoint, |call| {
            assert_eq!(call.path, "/refresh");
            refreshes += 1;
            call.reply(answer.clone());
        });
        assert_eq!(burst.expect(6).json()["failed"], 1000);
        assert_eq!(refreshes, 3);
    }
}

#[test]
fn the_worst_that_happened_is_the_exit_code() {
    for (statuses, code) in [([200, 200, 302], 3), ([302, 404, 200], 4), ([404, 500, 302], 5)] {
        let endpoint = Endpoint::start();
        let cli = Cli::new(&endpoint.url);
        cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
        let mut answers = statuses.into_iter();
        let burst = cli.start(&["burst", "-n", "3", "--json"]);
        let burst = burst.finish_answering(&endpoint, |call| call.reply(Answer::new(answers.next().unwrap(), "")));
        burst.expect(code);
    }
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    let burst = cli.start(&["burst", "-n", "2", "--json"]);
    endpoint.expect("GET", "/protected").reply(Answer::new(500, ""));
    endpoint.expect("GET", "/protected").hang_up();
    let summary = burst.finish().expect(6).json();
    assert_eq!((&summary["failed"], &summary["statuses"]), (&json!(2), &json!({"500": 1})));
}

#[test]
fn a_refresh_that_fails_is_one_failure_for_all() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let burst = cli.start(&["burst", "-n", "30", "--json"]);
    endpoint.refuse_refresh();
    let burst = burst.finish().expect(7);
    assert_eq!(burst.json()["failed"], 30);
    assert!(burst.stderr.ends_with("hint: run `authcli login`\n"), "{}", burst.stderr);
}

#[test]
fn what_was_typed_wrong_costs_no_refresh_either() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let before = endpoint.connections();
    cli.run(&["burst", "-n", "3", "//elsewhere"]).expect(2);
    assert_eq!(endpoint.connections(), before);
}
