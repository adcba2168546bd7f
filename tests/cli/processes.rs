//! Many processes, one session.

use crate::support::{Answer, Cli, Endpoint, Running, Server};

#[test]
fn sixteen_processes_on_an_expired_token_cost_one_refresh() {
    let mut server = Server::with_access_ttl("1ms");
    let cli = Cli::new(&server.url);
    cli.login();
    server.restart("15m");
    let processes: Vec<Running> = (0..16).map(|_| cli.start(&["get", "/protected"])).collect();
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
fn processes_that_all_burst_cost_one_refresh() {
    let mut server = Server::with_access_ttl("1ms");
    let cli = Cli::new(&server.url);
    cli.login();
    server.restart("15m");
    let processes: Vec<Running> = (0..4).map(|_| cli.start(&["burst", "-n", "50", "--json"])).collect();
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
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    let get = cli.start(&["get", "/x"]);
    let call = endpoint.expect("GET", "/x");
    let login = cli.start_with_input(&["login", "-u", "other", "--password-stdin"], "x\n");
    endpoint.expect("POST", "/login").reply(Answer::tokens("access-9", "refresh-9", 900.0));
    endpoint.expect("POST", "/logout").reply(Answer::new(204, ""));
    login.finish().expect(0);
    // The token of the session that is gone is refused; the new one's tokens are not this process's to use.
    call.reply(Answer::error(403, "Invalid token"));
    let get = get.finish().expect(7);
    assert!(get.stderr.contains("account changed"), "{}", get.stderr);
    assert_eq!(cli.run(&["token"]).expect(0).text(), "access-9\n");
}
