//! Every fault a refresh may meet: what is left of the session, how often the server is asked, how the program ends.
//!
//! | fault | tokens | calls | exit | test |
//! |---|---|---|---|---|
//! | many tasks, expired token | replaced | 1 | 0 | `burst::a_thousand_requests_on_an_expired_token_cost_one_refresh` |
//! | many tasks, all refused | replaced | 1 | 0 | `burst::all_refused_at_once_wait_for_one_refresh` |
//! | many processes, expired token | replaced | 1 | 0 | `processes::sixty_four_processes_on_an_expired_token_cost_one_refresh` |
//! | the first waiter is gone | replaced | 1 | – | `dropping_every_waiter_cancels_nothing` in `src/gate/tests/single_flight.rs` |
//! | 500 each time | kept | 3 | 6 | `refusals::a_server_that_breaks_down_ends_no_session` |
//! | connection cut after the request | replaced | 2 | 0 | `network::a_connection_that_is_closed_after_the_server_has_rotated` |
//! | each try cut off, garbled, a page, a 502 | kept | 3 | 6 | `network::a_refresh_whose_every_try_breaks_costs_one_call` |
//! | no answer, within ten seconds, within thirty | replaced; kept | 2; 3 | 0; 6 | `bounds::a_server_that_does_not_answer_…` |
//! | server killed in a refresh | kept | 1 to 3 | 6 | `network::a_server_that_is_killed_before_its_answer_is_out_and_comes_back` |
//! | refused, stored token unchanged | cleared | 1 | 7 | `refusals::a_clear_refusal_ends_the_session_and_nobody_asks_again` |
//! | refused, but a newer token is stored | newer adopted | 1 | 0 | below |
//! | 400 that nobody can read | kept | 1 | 6 | below |
//! | no such call, a captive portal's redirect | kept | 1 | 6 | below |
//! | lock held past the bound | kept | 0 | 9 | `bounds::a_lock_held_past_the_bound` |
//! | process killed while it holds the lock | replaced | 2 | 0 | `processes::a_refresh_whose_process_was_killed_is_taken_up_under_the_same_key`, and `kills` |
//! | store unreadable at the start | kept | 0 | 8 | below, for a file and for a locked keyring |
//! | save fails after the rotation | old kept | 1 | 8 | `store::tokens_that_cannot_be_saved_are_used_and_the_exit_says_so` |
//! | logout during a refresh | cleared, and stays so | 1 | 0 | `processes::a_logout_during_a_refresh_stays_a_logout` |
//! | clock set back by an hour | kept, or replaced once refused | 1 at most | 0 | below |

mod bounds;
mod network;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use jiff::SignedDuration;
use serde_json::json;

use crate::support::{Answer, Cli, Endpoint, logged_in};
#[cfg(target_os = "linux")]
use crate::support::{Running, SecretService, Server};

/// A user whose token is at its end.
fn at_its_end() -> (Endpoint, Cli) {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    (endpoint, cli)
}

#[test]
fn a_refusal_of_a_token_that_somebody_has_replaced_meanwhile_ends_nothing() {
    for status in [400, 401, 403] {
        let (endpoint, cli) = at_its_end();
        let get = cli.start(&["get", "/x"]);
        let refresh = endpoint.expect("POST", "/refresh");
        // Somebody shares the store but not the lock: another machine, on a shared home directory.
        cli.change_stored(|stored| {
            stored["generation"] = (stored["generation"].as_u64().unwrap() + 1).into();
            stored["access_token"] = "access-9".into();
            stored["refresh_token"] = "refresh-9".into();
            stored["access_lifetime_ms"] = 900_000.into();
        });
        refresh.reply(Answer::error(status, "Invalid refresh token"));
        let call = endpoint.expect("GET", "/x");
        assert_eq!(call.bearer(), Some("access-9"));
        call.reply(Answer::new(200, "fine"));
        assert_eq!(get.finish().expect(0).silent().text(), "fine");
        assert_eq!(cli.run(&["token"]).expect(0).text(), "access-9\n");
    }
}

#[test]
fn an_answer_that_does_not_fit_keeps_the_session_and_is_asked_for_once() {
    let bodies = ["{\"error\"", "[\"error\"]", "{\"message\":\"no\"}", ""].map(|body| (400, body, 6));
    for (status, body, code) in bodies.into_iter().chain([
        (404, "", 6),
        (405, "{\"error\":\"no such call\"}", 6),
        (302, "", 6),
        (403, "{\"error\":null}", 6),
    ]) {
        let (endpoint, cli) = at_its_end();
        let before = cli.stored();
        let get = cli.start(&["get", "/x"]);
        endpoint.expect("POST", "/refresh").reply(Answer::new(status, body));
        get.finish().expect(code).without_stdout();
        assert_eq!(cli.stored(), before, "{status} {body}");
    }
}

#[test]
fn a_store_that_cannot_be_read_asks_nobody() {
    let (endpoint, cli) = at_its_end();
    let (entry, aside) = (cli.entry(), cli.path("aside"));
    let connections = endpoint.connections();
    // Root reads whatever the mode is; nobody reads a directory.
    fs::rename(&entry, &aside).unwrap();
    fs::create_dir(&entry).unwrap();
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o700)).unwrap();
    for arguments in [["get", "/x"].as_slice(), &["token"], &["refresh"], &["burst", "-n", "5"]] {
        cli.run(arguments).expect(8).without_stdout();
    }
    assert_eq!(endpoint.connections(), connections);

    fs::remove_dir(&entry).unwrap();
    fs::rename(&aside, &entry).unwrap();
    let token = cli.start(&["token"]);
    let refresh = endpoint.expect("POST", "/refresh");
    assert_eq!(refresh.refresh_token(), "refresh-1");
    refresh.reply(Answer::tokens("access-2", "refresh-2", 900.0));
    assert_eq!(token.finish().expect(0).text(), "access-2\n");
}

#[test]
fn a_clock_that_was_set_back_makes_no_storm() {
    let (endpoint, cli) = logged_in();
    // To a clock an hour back, the token was received in an hour.
    cli.let_pass(SignedDuration::from_hours(-1));
    let burst = cli.start(&["burst", "-n", "20", "--json"]);
    let burst = burst.finish_answering(&endpoint, |call| {
        assert_eq!((call.path.as_str(), call.bearer()), ("/protected", Some("access-1")));
        call.reply(Answer::new(200, ""));
    });
    assert_eq!(burst.expect(0).json()["refreshes"], 0, "nobody knows how old it is, so it is used");

    let burst = cli.start(&["burst", "-n", "20", "--json"]);
    let burst = burst.finish_answering(&endpoint, |call| match call.bearer() {
        None => call.reply(Answer::tokens("access-2", "refresh-2", 900.0)),
        Some("access-2") => call.reply(Answer::new(200, "")),
        Some(_) => call.reply(Answer::error(403, "Invalid token")),
    });
    let summary = burst.expect(0).json();
    assert_eq!((&summary["succeeded"], &summary["refreshes"]), (&json!(20), &json!(1)));
}

#[test]
#[cfg(target_os = "linux")]
#[ignore = "needs gnome-keyring and dbus: run `make test`"]
fn a_keyring_that_is_locked_asks_nobody() {
    let (keyring, server) = (SecretService::start(), Server::with_access_ttl("1ms"));
    let cli = keyring.user(&server.url);
    cli.run_with_input(&["login", "-u", "admin", "--password-stdin"], "123456\n").expect(0);
    let mut lock = cli.command_of("dbus-send");
    lock.args(["--session", "--print-reply", "--dest=org.freedesktop.secrets", "/org/freedesktop/secrets"]);
    lock.args(["org.freedesktop.Secret.Service.Lock", "array:objpath:/org/freedesktop/secrets/collection/login"]);
    Running::start(lock).finish().expect(0);
    for arguments in [["get", "/protected"].as_slice(), &["token"], &["refresh"], &["burst", "-n", "5"]] {
        let refused = cli.run(arguments).expect(8).without_stdout();
        assert!(refused.stderr.starts_with("error: the OS keyring is not available\n"), "{}", refused.stderr);
    }
    assert_eq!(server.refreshes(), 0);
}
