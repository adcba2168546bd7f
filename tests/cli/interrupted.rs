//! Servers that know no attempt key: an interrupted refresh may cost the session, and then it is told.

use authcli::clock::SystemClock;
use authcli::gate::Clock as _;
use insta::assert_snapshot;
use jiff::Timestamp;

use crate::support::{Answer, Cli, Endpoint, Output, eventually};

/// Returns what was said, with the time cut out and checked.
fn without_time(output: &Output, since: Timestamp) -> String {
    let begin = output.stderr.find("began at ").expect("it says when") + "began at ".len();
    let (before, rest) = output.stderr.split_at(begin);
    let (time, after) = rest.split_once(' ').unwrap();
    let told: Timestamp = time.parse().unwrap();
    // Told in whole seconds.
    assert!((since.as_second()..=SystemClock.now().as_second()).contains(&told.as_second()), "{}", output.stderr);
    format!("{before}[time] {after}")
}

#[test]
fn a_session_lost_to_a_killed_process_says_when_its_refresh_began() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let start = SystemClock.now();
    let killed = cli.start(&["get", "/x"]);
    // The server takes the refresh token, and nobody is there for the answer.
    let lost = endpoint.expect("POST", "/refresh");
    killed.kill();
    lost.hang_up();

    let next = cli.start(&["get", "/x"]);
    endpoint.refuse_refresh();
    let next = next.finish().expect(7).without_stdout();
    assert_snapshot!(without_time(&next, start), @"
    error: the session has ended: Invalid refresh token
      caused by: a refresh that began at [time] was interrupted before its answer was saved
    hint: run `authcli login`
    ");
    // And again, without a call.
    let later = cli.run(&["token"]).expect(7);
    assert_eq!(without_time(&later, start), without_time(&next, start));
}

#[test]
fn a_session_lost_to_an_answer_that_never_came_says_so_at_once() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let start = SystemClock.now();
    let token = cli.start(&["token"]);
    endpoint.expect("POST", "/refresh").hang_up();
    endpoint.refuse_refresh();
    without_time(&token.finish().expect(7), start);
}

#[test]
fn a_session_that_was_refused_for_another_reason_blames_no_refresh() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let token = cli.start(&["token"]);
    endpoint.expect("POST", "/refresh").reply(Answer::new(503, "").with("Retry-After", "0"));
    endpoint.refuse_refresh();
    assert_snapshot!(token.finish().expect(7).stderr, @"
    error: the session has ended: Invalid refresh token
    hint: run `authcli login`
    ");
}

#[test]
fn an_error_that_blames_the_client_ends_no_session() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let token = cli.start(&["token"]);
    endpoint.expect("POST", "/refresh").reply(Answer::error(401, "invalid_client"));
    let refused = token.finish().expect(1);
    assert_snapshot!(cli.settled(&refused.stderr), @"
    error: could not refresh the session
      caused by: [server]/refresh answered 401 Unauthorized: invalid_client
    hint: the session stands; if the server has changed, run `authcli login`
    ");
    // The failure is remembered for a second.
    eventually("the refresh is tried again", || {
        let token = cli.start(&["token"]);
        let answered = |call: crate::support::Call| call.reply(Answer::tokens("access-2", "refresh-2", 900.0));
        token.finish_answering(&endpoint, answered).text() == "access-2\n"
    });
}
