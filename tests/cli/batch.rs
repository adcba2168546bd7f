//! Requests from standard input.

use std::io::{BufRead as _, BufReader, Write as _};
use std::thread;

use insta::assert_snapshot;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Answer, Call, Cli, Endpoint, Running, Server, logged_in};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns the line without what differs from run to run.
fn settled(mut line: Value) -> Value {
    if let Some(elapsed) = line.as_object_mut().unwrap().remove("elapsed_ms") {
        assert!(elapsed.as_f64().unwrap() > 0.0);
    }
    line
}

#[test]
fn answers_stand_in_the_order_of_their_lines_whatever_order_they_come_in() {
    for (arguments, expected) in [(["-c", "3"].as_slice(), [1, 2, 3]), (&["-c", "3", "--unordered"], [3, 2, 1])] {
        let (endpoint, cli) = logged_in();
        let (batch, mut stdin, stdout) = cli.start_with_pipes(&[&["batch"], arguments].concat());
        stdin.write_all(b"/1\n/2\n/3\n").unwrap();
        drop(stdin);
        let mut answers = BufReader::new(stdout).lines().map(|line| lines(&line.unwrap())[0]["line"].as_u64().unwrap());
        let mut calls: Vec<Call> = (0..3).map(|_| endpoint.next()).collect();
        calls.sort_by(|one, other| one.path.cmp(&other.path));
        let mut order = Vec::new();
        for call in calls.into_iter().rev() {
            call.reply(Answer::new(200, ""));
            if arguments.len() == 3 {
                // Written as it came: the next one has not been answered yet.
                order.push(answers.next().unwrap());
            }
        }
        order.extend(answers);
        assert_eq!(order, expected, "{arguments:?}");
        batch.finish().expect(0).silent();
    }
}

#[test]
fn every_form_of_a_line_becomes_the_request_that_it_says() {
    let (endpoint, cli) = logged_in();
    let input = concat!(
        "/a?x=1\r\n",
        "delete /b\n",
        "\n",
        "PUT /c {\"n\": 1.10}\n",
        "{\"path\":\"/d\",\"json\":[1],\"headers\":{\"X-Own\":\"o\"},\"query\":{\"q\":\"a b\"}}\n",
        "{\"method\":\"PATCH\",\"path\":\"/e\",\"body\":\"plain\"}",
    );
    let batch = cli.start_with_input(&["batch", "-c", "1", "-H", "X-All: 7"], input);
    let mut seen = Vec::new();
    let output = batch.finish_answering(&endpoint, |call| {
        assert_eq!((call.bearer(), call.header("X-All")), (Some("access-1"), Some("7")));
        seen.push(json!([
            call.method,
            call.path,
            String::from_utf8_lossy(&call.body),
            call.header("Content-Type"),
            call.header("X-Own")
        ]));
        call.reply(Answer::json(201, &json!({"at": call_path(&seen)})));
    });
    assert_eq!(
        Value::from(seen),
        json!([
            ["GET", "/a?x=1", "", null, null],
            ["DELETE", "/b", "", null, null],
            ["PUT", "/c", "{\"n\": 1.10}", "application/json", null],
            ["POST", "/d?q=a+b", "[1]", "application/json", "o"],
            ["PATCH", "/e", "plain", null, null],
        ])
    );
    let told: Vec<Value> = lines(output.expect(0).silent().text()).into_iter().map(settled).collect();
    assert_eq!(told[2], json!({"line": 4, "method": "PUT", "path": "/c", "status": 201, "body": {"at": "/c"}}));
    assert_eq!(told[4], json!({"line": 6, "method": "PATCH", "path": "/e", "status": 201, "body": {"at": "/e"}}));
}

fn call_path(seen: &[Value]) -> &Value {
    &seen.last().unwrap()[1]
}

#[test]
fn bad_lines_are_told_with_their_numbers_and_the_rest_goes_on() {
    let (endpoint, cli) = logged_in();
    let input = "/a b\n\n//elsewhere\n{\"path\":\"/x\",\"pth\":1}\nGET /ok\n\n{\"path\":";
    let batch = cli.start_with_input(&["batch", "-c", "1"], input);
    endpoint.expect("GET", "/ok").reply(Answer::new(200, "fine"));
    let output = batch.finish().expect(1);
    assert_snapshot!(cli.settled(&output.stderr), @"
    error: line 1: it is neither `PATH`, `METHOD PATH`, `METHOD PATH JSON` nor a JSON object; a blank in a path is %20
    error: line 3: `//elsewhere` is not a path on [server]: it names another host
    error: line 4: unknown field `pth`, expected one of `method`, `path`, `query`, `headers`, `json`, `body`
    error: line 7: it begins like a JSON object and is none (column 8)
    ");
    let told: Vec<Value> = lines(output.text()).into_iter().map(settled).collect();
    let numbers: Vec<&Value> = told.iter().map(|line| &line["line"]).collect();
    assert_eq!(numbers, [1, 3, 4, 5, 7]);
    assert_eq!(told[3], json!({"line": 5, "method": "GET", "path": "/ok", "status": 200, "body": "fine"}));
    assert!(told.iter().filter(|line| line["line"] != 5).all(|line| line["error"].is_string()), "{told:?}");
}

#[test]
fn a_thousand_bad_lines_are_told_of_in_eleven() {
    let (_endpoint, cli) = logged_in();
    let output = cli.run_with_input(&["batch"], &"GET\t/a b\n".repeat(1000)).expect(1);
    assert_eq!(output.text().lines().count(), 1000);
    assert_eq!(output.stderr.lines().count(), 11);
    assert!(output.stderr.ends_with("error: 990 more lines are no requests\n"), "{}", output.stderr);
}

#[test]
fn lines_of_all_lengths_and_no_text_at_all() {
    let (endpoint, cli) = logged_in();
    let (batch, mut stdin) = cli.start_with_stdin(&["batch", "-c", "1"]);
    let writer = thread::spawn(move || {
        // Three times as long as a line may be.
        for _ in 0..24 {
            stdin.write_all(&vec![b'x'; 1024 * 1024]).unwrap();
        }
        stdin.write_all(b"\n/\xff\xfe\n/ok\0\n/ok").unwrap();
    });
    let output = batch.finish_answering(&endpoint, |call| {
        assert_eq!(call.path, "/ok");
        call.reply(Answer::new(200, ""));
    });
    writer.join().unwrap();
    let output = output.expect(1);
    let errors: Vec<Value> = lines(output.text()).into_iter().map(|line| line["error"].clone()).collect();
    assert_eq!(errors[0], "it is longer than 8 MiB");
    assert_eq!(errors[1], "it is not UTF-8");
    assert!(errors[2].as_str().unwrap().contains("control character"), "{errors:?}");
    assert_eq!(errors[3], Value::Null);
}

#[test]
fn the_gravest_failure_is_told_with_its_line_and_is_the_exit_code() {
    let (endpoint, cli) = logged_in();
    let batch = cli.start_with_input(&["batch", "-c", "1"], "/1\n/2?key=secret\n/3 4 5\n/4\n");
    endpoint.expect("GET", "/1").reply(Answer::new(404, ""));
    endpoint.expect("GET", "/2?key=secret").reply(Answer::new(503, ""));
    endpoint.expect("GET", "/4").reply(Answer::new(404, ""));
    let output = batch.finish().expect(5);
    assert!(output.stderr.ends_with("error: line 2: GET /2: 503 Service Unavailable\n"), "{}", output.stderr);

    let batch = cli.start_with_input(&["batch", "-c", "1"], "/1\n/2\n");
    endpoint.expect("GET", "/1").reply(Answer::new(503, ""));
    endpoint.expect("GET", "/2").hang_up();
    let output = batch.finish().expect(6);
    let told = lines(output.text());
    assert_eq!((&told[0]["status"], &told[1]["status"]), (&json!(503), &Value::Null));
    assert!(told[1]["error"].as_str().unwrap().starts_with("could not get an answer from"), "{told:?}");
}

#[test]
fn when_the_session_has_ended_no_more_lines_are_read() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let (batch, mut stdin) = cli.start_with_stdin(&["batch"]);
    stdin.write_all(b"/1\n/2\n").unwrap();
    endpoint.refuse_refresh();
    // Standard input stays open: it is the end of the session that ends the batch.
    let output = batch.finish().expect(7);
    drop(stdin);
    let told = lines(output.text());
    assert!(!told.is_empty() && told.iter().all(|line| line["error"].is_string()), "{told:?}");
    assert!(output.stderr.ends_with("hint: run `authcli login`\n"), "{}", output.stderr);
}

#[test]
fn a_body_longer_than_is_kept_is_told_and_the_rest_goes_on() {
    let (endpoint, cli) = logged_in();
    let batch = cli.start_with_input(&["batch", "-c", "1"], "/big\n/just\n");
    let mebibytes = 1024 * 1024;
    endpoint.expect("GET", "/big").reply(Answer::new(200, &"x".repeat(8 * mebibytes + 1)));
    endpoint.expect("GET", "/just").reply(Answer::new(200, &"x".repeat(8 * mebibytes)));
    let output = batch.finish().expect(1);
    let told = lines(output.text());
    assert_eq!((&told[0]["status"], &told[0]["body"]), (&json!(200), &Value::Null));
    assert_eq!(told[0]["error"], "the body is longer than 8 MiB");
    assert_eq!(told[1]["body"].as_str().unwrap().len(), 8 * mebibytes);
}

#[test]
fn a_reader_that_goes_away_ends_it_in_silence() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let mut shell = cli.command_of("bash");
    // The input never ends.
    let pipeline = "\"$0\" batch < <(yes /protected) | head -n 2";
    shell.args(["-o", "pipefail", "-c", pipeline, env!("CARGO_BIN_EXE_authcli")]);
    let output = Running::start(shell).finish().expect(0).silent();
    assert_eq!(lines(output.text()).len(), 2);
}

#[test]
fn ctrl_c_ends_it_though_its_input_stays_open() {
    let (endpoint, cli) = logged_in();
    let (batch, mut stdin) = cli.start_with_stdin(&["batch"]);
    stdin.write_all(b"/1\n/2\n").unwrap();
    let calls = [endpoint.next(), endpoint.next()];
    batch.signal(Signal::INT);
    batch.finish().expect(130);
    drop(stdin);
    calls.into_iter().for_each(Call::hang_up);
}

#[test]
fn ctrl_c_loses_no_answer_that_there_is() {
    let (endpoint, cli) = logged_in();
    let (batch, mut stdin) = cli.start_with_stdin(&["batch", "-c", "3"]);
    stdin.write_all(b"/1\nPOST /2\nPOST /3\n/4\n/5\n").unwrap();
    let (done, mut held): (Vec<Call>, Vec<Call>) = (0..3).map(|_| endpoint.next()).partition(|call| call.path != "/1");
    for call in done {
        call.reply(Answer::new(201, "done"));
    }
    // The next ones come only when those have been taken; the first line is what they wait for.
    held.extend([endpoint.next(), endpoint.next()]);
    batch.signal(Signal::INT);
    let output = batch.finish().expect(130).silent();
    drop(stdin);
    let told: Vec<Value> = lines(output.text()).into_iter().map(settled).collect();
    let expected = [2, 3]
        .map(|line| json!({"line": line, "method": "POST", "path": format!("/{line}"), "status": 201, "body": "done"}));
    assert_eq!(told, expected);
    held.into_iter().for_each(Call::hang_up);
}

#[test]
fn a_line_is_answered_before_the_next_one_is_written() {
    let (endpoint, cli) = logged_in();
    let (batch, mut stdin, stdout) = cli.start_with_pipes(&["batch"]);
    let mut stdout = BufReader::new(stdout);
    for number in 1..=3 {
        writeln!(stdin, "/{number}").unwrap();
        endpoint.expect("GET", &format!("/{number}")).reply(Answer::new(200, ""));
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(lines(&line)[0]["line"], number);
    }
    drop(stdin);
    batch.finish().expect(0).silent();
}

#[test]
fn a_directory_on_standard_input_is_an_error() {
    let (_endpoint, cli) = logged_in();
    let mut command = cli.command_of(env!("CARGO_BIN_EXE_authcli"));
    command.arg("batch").stdin(std::fs::File::open("/").unwrap());
    let output = Running::start(command).finish().expect(1).without_stdout();
    assert!(output.stderr.starts_with("error: could not read standard input\n"), "{}", output.stderr);
}

#[test]
#[ignore = "needs jq: run `make test`"]
fn the_pipeline_of_the_documentation() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let mut shell = cli.command_of("bash");
    let pipeline =
        "seq 1 3000 | sed 's|^|/protected?i=|' | \"$0\" batch -c 50 | jq -c '[.line, .path, .status, .body.userId]'";
    shell.args(["-o", "pipefail", "-c", pipeline, env!("CARGO_BIN_EXE_authcli")]);
    let output = Running::start(shell).finish().expect(0).silent();
    let expected: Vec<String> = (1..=3000).map(|line| format!("[{line},\"/protected?i={line}\",200,1]")).collect();
    assert_eq!(output.text().lines().collect::<Vec<_>>(), expected);
}
