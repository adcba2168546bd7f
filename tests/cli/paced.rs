//! Bursts over time: at a rate, for a time, across expiries, and told request by request.

use std::collections::BTreeSet;
use std::io::{BufReader, Read as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Answer, Call, Cli, Endpoint, Running, Server, eventually, logged_in};

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn a_stall_counts_against_all_that_were_due_in_it() {
    let (endpoint, cli) = logged_in();
    // One at a time, due at 0, 50, … 950 ms. The server holds the first until all of them are due.
    let burst = cli.start(&["burst", "-n", "20", "-c", "1", "--rate", "20", "--json"]);
    let stalled = endpoint.expect("GET", "/protected");
    thread::sleep(Duration::from_secs(1));
    stalled.reply(Answer::new(200, ""));
    let summary = burst.finish_answering(&endpoint, |call| call.reply(Answer::new(200, "")));
    let summary = summary.expect(0).silent().json();
    // Each answer after the first took no time, and each waited until the stall was over: they spread evenly over it.
    let latency = &summary["latency_ms"];
    assert!(number(&latency["p50"]) > 450.0 && number(&latency["mean"]) > 450.0, "{latency}");
    assert!(number(&latency["p90"]) > 850.0 && number(&latency["max"]) >= 1_000.0, "{latency}");
}

#[test]
fn a_rate_is_kept_and_never_passed() {
    let (endpoint, cli) = logged_in();
    let start = Instant::now();
    let burst = cli.start(&["burst", "-n", "30", "--rate", "100", "--json"]);
    let summary = burst.finish_answering(&endpoint, |call| call.reply(Answer::new(200, "")));
    let summary = summary.expect(0).silent().json();
    assert_eq!(summary["succeeded"], 30);
    // The last one is due after 290 ms.
    assert!(number(&summary["elapsed_ms"]) >= 290.0 && start.elapsed() >= Duration::from_millis(290), "{summary}");
}

#[test]
fn a_duration_ends_it_and_what_is_under_way_is_waited_for() {
    let (endpoint, cli) = logged_in();
    let burst = cli.start(&["burst", "--duration", "300ms", "-c", "2", "--json"]);
    let held = [endpoint.expect("GET", "/protected"), endpoint.expect("GET", "/protected")];
    // It had begun by now, so its time is over after this; a third request would be a call that nobody expects.
    thread::sleep(Duration::from_millis(400));
    for call in held {
        call.reply(Answer::new(200, ""));
    }
    let summary = burst.finish().expect(0).silent().json();
    assert_eq!((&summary["requests"], &summary["succeeded"]), (&json!(2), &json!(2)));
    assert!(number(&summary["elapsed_ms"]) >= 400.0, "{summary}");
}

#[test]
fn requests_that_were_due_and_never_sent_are_told() {
    let (endpoint, cli) = logged_in();
    let warning = "warning: 39 requests were due and not sent: all 1 at a time waited for answers to the end\n";
    for (arguments, told) in [(["--json"].as_slice(), warning), (&["--json", "-q"], ""), (&["-q"], "")] {
        let burst = ["burst", "--duration", "400ms", "--rate", "100", "-c", "1"];
        let burst = cli.start(&[burst.as_slice(), arguments].concat());
        let stalled = endpoint.expect("GET", "/protected");
        thread::sleep(Duration::from_millis(600));
        stalled.reply(Answer::new(200, ""));
        let output = burst.finish().expect(0);
        if arguments.contains(&"--json") {
            assert_eq!((&output.json()["requests"], &output.json()["unsent"]), (&json!(1), &json!(39)));
        } else {
            assert!(output.text().contains("unsent      39\n"), "{}", output.text());
        }
        assert_eq!(output.stderr, told);
    }
}

#[test]
fn every_request_is_a_line_and_the_summary_is_the_last() {
    let (endpoint, cli) = logged_in();
    let burst = cli.start(&["burst", "-n", "6", "-c", "2", "--ndjson"]);
    let mut calls = 0;
    let output = burst.finish_answering(&endpoint, |call| {
        calls += 1;
        match (call.path.as_str(), calls) {
            ("/refresh", _) => call.reply(Answer::tokens("access-2", "refresh-2", 900.0)),
            // The last one is left without an answer.
            (_, 8) => call.hang_up(),
            _ if call.bearer() == Some("access-1") => call.reply(Answer::error(401, "expired")),
            _ => call.reply(Answer::new(200, "")),
        }
    });
    let output = output.expect(6);
    let mut lines: Vec<Value> = output.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().unwrap();
    assert_eq!((&summary["requests"], &summary["refreshes"]), (&json!(6), &json!(1)));
    let numbers: BTreeSet<u64> = lines.iter().map(|line| line["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=6).collect());
    let names = |line: &Value| line.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    let (failed, answered): (Vec<&Value>, Vec<&Value>) = lines.iter().partition(|line| line.get("error").is_some());
    assert!(answered.iter().all(|line| names(line) == "elapsed_ms generation n retried status"), "{lines:?}");
    assert!(answered.iter().all(|line| line["status"] == 200 && line["generation"] == 2), "{lines:?}");
    let retried = answered.iter().filter(|line| line["retried"] == true).count();
    assert_eq!(json!(retried), summary["retried"]);
    assert_eq!((failed.len(), names(failed[0]).as_str()), (1, "elapsed_ms error n"), "{lines:?}");
}

#[test]
fn a_burst_can_be_of_any_method() {
    let (endpoint, cli) = logged_in();
    let burst = cli.start(&["burst", "-n", "1", "-X", "delete", "/x"]);
    endpoint.expect("DELETE", "/x").reply(Answer::new(200, ""));
    burst.finish().expect(0);
    for method in ["", "G T", "TRACE", "connect"] {
        cli.run(&["burst", "-n", "1", "-X", method]).expect(2);
    }
}

#[test]
fn a_request_is_tried_again_where_that_is_asked_for() {
    let (endpoint, cli) = logged_in();
    let burst = cli.start(&["burst", "-n", "1", "--retry", "2", "--json"]);
    for status in [503, 503, 200] {
        endpoint.expect("GET", "/protected").reply(Answer::new(status, "").with("Retry-After", "0"));
    }
    let summary = burst.finish().expect(0).json();
    assert_eq!((&summary["requests"], &summary["statuses"]), (&json!(1), &json!({"200": 1})));
    let batch = cli.start_with_input(&["batch", "--retry", "1"], "POST /x\n/y\n");
    let mut calls = Vec::new();
    let output = batch.finish_answering(&endpoint, |call| {
        calls.push(format!("{} {}", call.method, call.path));
        call.reply(Answer::new(503, "").with("Retry-After", "0"));
    });
    assert_eq!(output.expect(5).text().lines().count(), 2);
    calls.sort();
    // What may have done something is not done twice.
    assert_eq!(calls, ["GET /y", "GET /y", "POST /x"]);
}

#[test]
fn more_refreshes_than_allowed_fail_the_run() {
    for (most, code) in [("1", 0), ("0", 1)] {
        let endpoint = Endpoint::start();
        let cli = Cli::new(&endpoint.url);
        cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
        let burst = cli.start(&["burst", "-n", "5", "--max-refreshes", most, "--json"]);
        endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
        let output = burst.finish_answering(&endpoint, |call| call.reply(Answer::new(200, ""))).expect(code);
        assert_eq!(output.json()["refreshes"], 1);
        let told = if code == 0 { "" } else { "error: 1 refreshes were sent; --max-refreshes allows 0\n" };
        assert_eq!(output.stderr, told);
    }
    // What is graver decides the code; it is told all the same.
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let burst = cli.start(&["burst", "-n", "1", "--max-refreshes", "0"]);
    endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
    endpoint.expect("GET", "/protected").reply(Answer::new(500, ""));
    let output = burst.finish().expect(5);
    assert!(output.stderr.contains("--max-refreshes allows 0") && output.stderr.contains("500"), "{}", output.stderr);
}

#[test]
fn ctrl_c_tells_what_there_was_until_then() {
    let (endpoint, cli) = logged_in();
    for (arguments, expected) in [([].as_slice(), "requests    1 (2 at a time)\n"), (&["--json"], "{\"requests\":1,")] {
        let burst = cli.start(&[&["burst", "-n", "9", "-c", "2"], arguments].concat());
        endpoint.expect("GET", "/protected").reply(Answer::new(200, ""));
        // The third comes only when the first one has been counted.
        let held = [endpoint.expect("GET", "/protected"), endpoint.expect("GET", "/protected")];
        burst.signal(Signal::INT);
        let output = burst.finish().expect(130);
        assert!(output.text().starts_with(expected), "{}", output.text());
        held.into_iter().for_each(Call::hang_up);
    }
}

#[test]
fn ctrl_c_leaves_the_summary_the_last_of_the_lines() {
    let (endpoint, cli) = logged_in();
    let burst = cli.start(&["burst", "-n", "9", "-c", "2", "--ndjson"]);
    endpoint.expect("GET", "/protected").reply(Answer::new(200, ""));
    // The third comes only when the first one has been counted.
    let held = [endpoint.expect("GET", "/protected"), endpoint.expect("GET", "/protected")];
    burst.signal(Signal::INT);
    let output = burst.finish().expect(130).silent();
    let lines: Vec<Value> = output.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["status"], &lines[1]["requests"]), (2, &json!(200), &json!(1)));
    held.into_iter().for_each(Call::hang_up);
}

#[test]
fn a_second_ctrl_c_ends_it_though_nobody_takes_the_lines() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    // More lines than a pipe holds, and nobody reads.
    let (burst, stdout) = cli.start_with_stdout(&["burst", "-n", "1500", "-c", "50", "--ndjson"]);
    eventually("all are answered", || server.logged("GET /protected 200") == 1500);
    burst.signal(Signal::INT);
    burst.signal(Signal::INT);
    burst.finish().expect(130);
    drop(stdout);
}

#[test]
fn a_reader_that_is_slow_to_take_the_lines_is_no_slow_server() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let mut command = cli.command_of(env!("CARGO_BIN_EXE_authcli"));
    let start = Instant::now();
    let mut child = command.args(["burst", "-n", "1500", "-c", "50", "--ndjson"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let burst = Running::adopt(child);
    eventually("all are answered", || server.logged("GET /protected 200") == 1500);
    // It has more lines than a pipe holds, and waits for this reader.
    let answered = start.elapsed();
    thread::sleep(Duration::from_secs(1));
    let mut text = String::new();
    stdout.read_to_string(&mut text).unwrap();
    burst.finish().expect(0).silent();
    let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    // The server logs an answer a little before it arrives here.
    let most = answered + Duration::from_millis(500);
    assert!(number(&summary["elapsed_ms"]) < most.as_secs_f64() * 1e3, "{summary}");
}

#[test]
fn when_the_session_has_ended_no_more_is_sent() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let burst = cli.start(&["burst", "--duration", "1h", "-c", "3", "--json"]);
    endpoint.refuse_refresh();
    let output = burst.finish().expect(7);
    let summary = output.json();
    // Those that waited for the tokens, and no others.
    let requests = summary["requests"].as_u64().unwrap();
    assert!((1..=3).contains(&requests), "{summary}");
    // None of them has been sent, so none of them took any time.
    assert_eq!((&summary["failed"], number(&summary["latency_ms"]["max"])), (&json!(requests), 0.0), "{summary}");
    assert!(output.stderr.ends_with("hint: run `authcli login`\n"), "{}", output.stderr);
}

#[test]
fn requests_without_an_answer_are_told_apart_by_their_causes() {
    let (endpoint, cli) = logged_in();
    drop(endpoint);
    let summary = cli.run(&["burst", "-n", "2", "--json"]).expect(6).json();
    let errors = summary["errors"].as_object().unwrap();
    assert!(errors.len() == 1 && errors.keys().all(|why| why.contains("Connection refused")), "{summary}");
    assert_eq!(summary.get("unsent"), None, "nothing is due where there is no rate");
}

/// What a token lives, in seconds.
const LIFE: u64 = 2;
const RUN: Duration = Duration::from_secs(7);

#[test]
fn burst_and_batch_across_several_expiries_are_never_refused() {
    let server = Server::with_access_ttl(&format!("{LIFE}s"));
    let cli = Cli::new(&server.url);
    cli.login();
    let burst = cli.start(&["burst", "--duration", "7s", "-c", "10", "--json"]);
    let (batch, mut stdin) = cli.start_with_stdin(&["batch", "-c", "10"]);
    let start = Instant::now();
    // Long lines, so that few of them lie in pipes when the time is over.
    let line = format!("/protected?x={}\n", "x".repeat(4_000));
    let mut written = 0_usize;
    while start.elapsed() < RUN {
        // As fast as they are taken.
        stdin.write_all(line.as_bytes()).unwrap();
        written += 1;
    }
    drop(stdin);
    let answers = batch.finish().expect(0).silent();
    let summary = burst.finish().expect(0).silent().json();

    assert_eq!(answers.text().lines().count(), written);
    assert!(answers.text().lines().all(|line| line.contains("\"status\":200,")), "all were answered");
    assert_eq!((&summary["failed"], &summary["retried"]), (&json!(0), &json!(0)), "{summary}");
    assert!(summary["succeeded"].as_u64().unwrap() > 100, "{summary}");
    // The two share the session: for every life one refresh, by one of them.
    let lives = start.elapsed().as_millis() / u128::from(LIFE * 1000 * 3 / 4);
    let refreshes = server.refreshes() as u128;
    assert!((3..=lives + 1).contains(&refreshes), "{refreshes} refreshes in {lives} lives");
    assert_eq!((server.refused_refreshes(), server.logged("GET /protected 403")), (0, 0));
}
