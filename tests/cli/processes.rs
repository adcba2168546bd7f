//! Many processes, one session.

use jiff::SignedDuration;
use serde_json::json;

use crate::support::{Answer, Call, Cli, Endpoint, Running, Server, logged_in};

#[test]
fn sixty_four_processes_on_an_expired_token_cost_one_refresh() {
    let mut server = Server::with_access_ttl("1ms");
    let cli = Cli::new(&server.url);
    cli.login();
    server.restart("15m");
    let processes: Vec<Running> = (0..64).map(|_| cli.start(&["get", "/protected"])).collect();
    for process in processes {
        let output = process.finish().expect(0).silent();
        assert_eq!(output.json()["userId"], 1);
    }
    assert_eq!(server.refreshes(), 1);
}

#[test]
fn processes_that_wait_for_a_refresh_take_its_tokens() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let first = cli.start(&["token"]);
    let refresh = endpoint.expect("POST", "/refresh");
    let others: Vec<Running> = (0..4).map(|_| cli.start(&["token"])).collect();
    refresh.reply(Answer::tokens("access-2", "refresh-2", 900.0));
    for process in others.into_iter().chain([first]) {
        assert_eq!(process.finish().expect(0).silent().text(), "access-2\n");
    }
}

#[test]
fn twelve_processes_that_all_burst_cost_one_refresh() {
    let mut server = Server::with_access_ttl("1ms");
    let cli = Cli::new(&server.url);
    cli.login();
    server.restart("15m");
    let processes: Vec<Running> = (0..12).map(|_| cli.start(&["burst", "-n", "50", "--json"])).collect();
    let summaries: Vec<_> = processes.into_iter().map(|process| process.finish().expect(0).json()).collect();
    assert!(summaries.iter().all(|summary| summary["succeeded"] == 50), "{summaries:?}");
    let refreshes: u64 = summaries.iter().map(|summary| summary["refreshes"].as_u64().unwrap()).sum();
    assert_eq!((refreshes, server.refreshes()), (1, 1), "{summaries:?}");
}

#[test]
fn a_refresh_whose_process_was_killed_is_taken_up_under_the_same_key() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let killed = cli.start(&["get", "/x"]);
    let lost = endpoint.expect("POST", "/refresh");
    killed.kill();

    let get = cli.start(&["get", "/x"]);
    let repeated = endpoint.expect("POST", "/refresh");
    assert_eq!(repeated.refresh_token(), lost.refresh_token());
    assert_eq!(repeated.header("Idempotency-Key").unwrap(), lost.header("Idempotency-Key").unwrap());
    repeated.reply(Answer::tokens("access-2", "refresh-2", 900.0));
    endpoint.expect("GET", "/x").reply(Answer::new(200, "fine"));
    assert_eq!(get.finish().expect(0).text(), "fine");
    lost.hang_up();
}

#[test]
fn a_logout_during_a_refresh_stays_a_logout() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let get = cli.start(&["get", "/x"]);
    let refresh = endpoint.expect("POST", "/refresh");
    let logout = cli.start(&["logout"]);
    endpoint.expect("POST", "/logout").reply(Answer::new(204, ""));
    // The logout waits for the lock that the refresh holds.
    refresh.reply(Answer::tokens("access-2", "refresh-2", 900.0));
    endpoint.expect("GET", "/x").reply(Answer::new(200, ""));
    get.finish().expect(0);
    logout.finish().expect(0);
    cli.run(&["status"]).expect(7);
    assert!(!cli.everything().contains("refresh-2"));
}

#[test]
fn a_login_during_a_burst_is_another_account() {
    let (endpoint, cli) = logged_in();
    let burst = cli.start(&["burst", "-n", "20", "--json"]);
    let calls: Vec<Call> = (0..20).map(|_| endpoint.expect("GET", "/protected")).collect();
    let login = cli.start_with_input(&["login", "-u", "other", "--password-stdin"], "x\n");
    endpoint.expect("POST", "/login").reply(Answer::tokens("access-9", "refresh-9", 900.0));
    endpoint.expect("POST", "/logout").reply(Answer::new(204, ""));
    login.finish().expect(0);
    // The tokens of the session that is gone are refused; the new one's are not this process's to use. No call but these
    // comes: the endpoint would tell.
    for call in calls {
        call.reply(Answer::error(403, "Invalid token"));
    }
    let burst = burst.finish().expect(7);
    assert_eq!((&burst.json()["failed"], &burst.json()["adopted"]), (&json!(20), &json!(0)));
    assert!(burst.stderr.contains("account changed"), "{}", burst.stderr);
    assert_eq!(cli.run(&["token"]).expect(0).text(), "access-9\n");
}

#[test]
fn a_burst_whose_reader_is_gone_leaves_the_session_whole() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    // The first reader takes a line, the second nothing at all.
    for (reader, count) in [("head -n 1", 1), ("true", 0)] {
        cli.let_pass(SignedDuration::from_mins(16));
        let mut shell = cli.command_of("bash");
        let pipeline = format!("\"$0\" burst -n 1000 | {reader}");
        shell.args(["-o", "pipefail", "-c", &pipeline, env!("CARGO_BIN_EXE_authcli")]);
        let output = Running::start(shell).finish().expect(0).silent();
        assert_eq!(output.text().lines().count(), count);
        let refreshes = server.refreshes();
        cli.run(&["get", "/protected"]).expect(0).silent();
        assert_eq!(server.refreshes(), refreshes, "the tokens were saved");
    }
    assert_eq!(server.refreshes(), 2);
}
