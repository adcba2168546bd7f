//! Being asked to stop.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Answer, Cli, Endpoint, Running, eventually};

/// A process that is in the middle of a refresh, the refresh, and whose it is.
fn in_a_refresh(endpoint: &Endpoint, arguments: &[&str]) -> (Cli, Running, crate::support::Call) {
    let cli = Cli::new(&endpoint.url);
    cli.login_at(endpoint, "access-1", "refresh-1", 0.001);
    let process = cli.start(arguments);
    let refresh = endpoint.expect("POST", "/refresh");
    (cli, process, refresh)
}

/// Long enough for the refresh to be sent on a busy machine: one that has not been sent by then is given up.
const IN_TIME: &str = "2s";
/// When that time is over.
const OVER: Duration = Duration::from_millis(2_500);

#[test]
fn a_signal_in_a_refresh_waits_until_it_is_saved() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        for arguments in [["get", "/x"].as_slice(), &["refresh"], &["token"], &["burst", "-n", "5"]] {
            let endpoint = Endpoint::start();
            let (cli, process, refresh) = in_a_refresh(&endpoint, arguments);
            process.signal(signal);
            refresh.reply(Answer::tokens("access-2", "refresh-2", 900.0));
            // Nobody can tell from outside whether the signal or the answer is noticed first; so what may follow is not
            // answered, and the signal is the only way to the end.
            let mut unanswered = Vec::new();
            process.finish_answering(&endpoint, |call| unanswered.push(call)).expect(code);
            assert_eq!(cli.run(&["token"]).expect(0).text(), "access-2\n", "{arguments:?} at {signal:?}");
        }
    }
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let endpoint = Endpoint::start();
    let (cli, process, refresh) = in_a_refresh(&endpoint, &["get", "/x"]);
    // Two different ones: the system may make one of two equal ones. Without the second the process would end by
    // itself after ten seconds, with the first one's code.
    process.signal(Signal::INT);
    process.signal(Signal::TERM);
    process.finish().expect(143);
    let key = refresh.header("Idempotency-Key").unwrap().to_owned();
    refresh.hang_up();
    // The next process takes the refresh up.
    let token = cli.start(&["token"]);
    let repeated = endpoint.expect("POST", "/refresh");
    assert_eq!(repeated.header("Idempotency-Key"), Some(key.as_str()));
    repeated.reply(Answer::tokens("access-2", "refresh-2", 900.0));
    assert_eq!(token.finish().expect(0).text(), "access-2\n");
}

#[test]
fn a_signal_without_a_refresh_ends_the_process_at_once() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let endpoint = Endpoint::start();
        let cli = Cli::new(&endpoint.url);
        cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
        let get = cli.start(&["get", "/x"]);
        let held = endpoint.expect("GET", "/x");
        get.signal(signal);
        get.finish().expect(code).without_stdout();
        held.hang_up();
    }
}

#[test]
fn a_signal_at_a_login_that_waits_for_the_server_ends_it() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let login = cli.start_with_input(&["login", "-u", "admin", "--password-stdin"], "secret\n");
    let held = endpoint.expect("POST", "/login");
    login.signal(Signal::INT);
    login.finish().expect(130);
    held.hang_up();
    cli.run(&["status"]).expect(7);
}

#[test]
fn a_timeout_in_a_refresh_waits_until_it_is_saved() {
    let endpoint = Endpoint::start();
    let (cli, process, refresh) = in_a_refresh(&endpoint, &["get", "/x", "--timeout", IN_TIME]);
    // Its message comes before the process waits; so nothing tells when the time is over but the time itself.
    std::thread::sleep(OVER);
    refresh.reply(Answer::tokens("access-2", "refresh-2", 900.0));
    process.finish().expect(6);
    assert_eq!(cli.run(&["token"]).expect(0).text(), "access-2\n");
}

#[test]
fn the_first_signal_while_only_the_refresh_is_waited_for_does_not_cut_it_off() {
    let endpoint = Endpoint::start();
    let (cli, process, refresh) = in_a_refresh(&endpoint, &["get", "/x", "--timeout", IN_TIME]);
    // It is the program's own clock that has to move on: past the time of the request.
    std::thread::sleep(OVER);
    process.signal(Signal::INT);
    refresh.reply(Answer::tokens("access-2", "refresh-2", 900.0));
    process.finish().expect(130);
    assert_eq!(cli.run(&["token"]).expect(0).text(), "access-2\n");
}

#[test]
fn a_signal_ends_a_login_that_waits_for_its_password() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let mut login = cli.command_of(env!("CARGO_BIN_EXE_authcli"));
    // A pipe that stays open, and that nothing comes through.
    login.args(["login", "-u", "admin", "--password-stdin"]).stdin(Stdio::piped());
    let login = Running::start(login);
    eventually("the server is looked for", || endpoint.connections() > 0);
    login.signal(Signal::TERM);
    login.finish().expect(143);
}

#[test]
fn a_signal_between_two_tries_ends_the_process_and_no_try_follows() {
    let endpoint = Endpoint::start();
    for arguments in [["get", "/x"].as_slice(), &["get", "/x", "--timeout", "1s"]] {
        let (cli, process, refresh) = in_a_refresh(&endpoint, arguments);
        // Both are told to wait longer than anybody waits on the way out; a second try would be a call nobody expects.
        let since = Instant::now();
        refresh.reply(Answer::new(503, "").with("Retry-After", "8"));
        let stamp = cli.entry().with_extension("stamp");
        if arguments.len() == 2 {
            // Nothing tells from outside that the answer was read; a signal before that waits for the answer.
            std::thread::sleep(Duration::from_millis(300));
            process.signal(Signal::INT);
            process.finish().expect(130);
        } else {
            process.finish().expect(6);
        }
        assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
        assert!(std::fs::read_to_string(stamp).unwrap().contains("\"failure\""), "other processes are told");
    }
}
