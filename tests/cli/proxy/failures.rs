//! What clients are told when there is no answer, and what whoever runs the proxy is.

use super::Proxied;
use crate::support::{Answer, Cli, Endpoint, Server, logged_in};

#[test]
fn a_session_that_has_ended_is_told_to_client_and_user() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let proxy = Proxied::start(&cli, &[]);
    let answer = proxy.ask_aside("GET", "/x", &[], b"");
    endpoint.refuse_refresh();
    let told = answer.join().unwrap().own(503);
    assert_eq!(told["hint"], "run `authcli login`, then start the proxy again");
    assert!(told["error"].as_str().unwrap().starts_with("the session has ended: "), "{told}");
    // From then on without asking the server, and told to the user once.
    proxy.ask("GET", "/x", &[], b"").own(503);
    let output = proxy.stop().expect(143);
    insta::assert_snapshot!(output.stderr, @r"
    error: the session has ended: Invalid refresh token
    hint: run `authcli login`
    ");
}

#[test]
fn a_server_that_is_away_is_a_bad_gateway_and_comes_back() {
    let (endpoint, cli) = logged_in();
    let proxy = Proxied::start(&cli, &[]);
    let answer = proxy.ask_aside("GET", "/x", &[], b"");
    endpoint.expect("GET", "/x").hang_up();
    let refusal = answer.join().unwrap();
    assert!(refusal.own(502)["error"].as_str().unwrap().contains(&endpoint.url), "{refusal:?}");
    let answer = proxy.ask_aside("GET", "/x", &[], b"");
    endpoint.expect("GET", "/x").reply(Answer::new(200, "fine"));
    assert_eq!(answer.join().unwrap().text(), "fine");
}

#[test]
fn nobody_there_is_a_bad_gateway() {
    let mut server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    let proxy = Proxied::start(&cli, &[]);
    server.stop();
    let refusal = proxy.ask("GET", "/x", &[], b"");
    let told = refusal.own(502);
    assert!(told["error"].as_str().unwrap().to_lowercase().contains("connection refused"), "{told}");
    assert_eq!(refusal.header("Proxy-Status"), Some("authcli; error=destination_unavailable"));
}

#[test]
fn a_refresh_that_has_to_wait_says_for_how_long() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let proxy = Proxied::start(&cli, &[]);
    let answer = proxy.ask_aside("GET", "/x", &[], b"");
    endpoint.expect("POST", "/refresh").reply(Answer::new(503, "").with("Retry-After", "77"));
    let refusal = answer.join().unwrap();
    assert_eq!(
        refusal.own(503)["error"].as_str().map(|error| error.starts_with("could not refresh the session")),
        Some(true)
    );
    assert_eq!(refusal.header("Retry-After"), Some("77"));
}

#[test]
fn neither_log_nor_error_holds_a_secret() {
    const CANARY: &str = "canary4711";
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, &format!("access-{CANARY}-1"), &format!("refresh-{CANARY}-1"), 900.0);
    let proxy = Proxied::start(&cli, &["-vv"]);
    let key = proxy.key().to_owned();
    let mut replies = Vec::new();
    let referer = format!("{}/page", proxy.address);
    let headers = [("Referer", referer.as_str()), ("X-Api-Key", CANARY), ("X-See", &key)];
    let refused = proxy.ask_aside("GET", "/x?key=canary4711", &headers, b"");
    endpoint.expect("GET", "/x?key=canary4711").reply(Answer::error(401, "expired"));
    let tokens = Answer::tokens(&format!("access-{CANARY}-2"), &format!("refresh-{CANARY}-2"), 900.0);
    endpoint.expect("POST", "/refresh").reply(tokens);
    let location = format!("/x?{CANARY}");
    endpoint.expect("GET", "/x?key=canary4711").reply(Answer::new(201, "").with("Location", &location));
    assert_eq!(refused.join().unwrap().status, 201);
    for (path, headers) in [
        (format!("/{key}/x"), [("A", "b")]),
        (format!("/\\{CANARY}"), [("A", "b")]),
        ("/x".into(), [("Origin", "https://evil.example/canary4711")]),
    ] {
        replies.push(proxy.ask("GET", &path, &headers, b""));
    }
    replies.push(proxy.send(format!("GET /{CANARY} HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.authority()).as_bytes()));
    let lost = proxy.ask_aside("GET", "/x", &[], b"");
    endpoint.expect("GET", "/x").hang_up();
    replies.push(lost.join().unwrap());
    for reply in &replies {
        assert!(reply.status >= 400 && !reply.text().contains(&key), "{reply:?}");
        assert!(!reply.head.contains(&key) && !reply.text().contains("access-"), "{reply:?}");
    }
    let output = proxy.stop().expect(143);
    assert!(output.stderr.contains("refused a request: "), "{}", output.stderr);
    assert!(output.stderr.contains("> GET /x?…"), "{}", output.stderr);
    for secret in [key.as_str(), CANARY] {
        assert!(!output.stderr.contains(secret), "{}", output.stderr);
    }
}

#[test]
fn the_same_failure_is_told_to_the_user_once() {
    let (endpoint, cli) = logged_in();
    let proxy = Proxied::start(&cli, &[]);
    for _ in 0..3 {
        let lost = proxy.ask_aside("GET", "/x", &[], b"");
        endpoint.expect("GET", "/x").hang_up();
        lost.join().unwrap().own(502);
    }
    let output = proxy.stop().expect(143);
    assert_eq!(output.stderr.matches("error: ").count(), 1, "{}", output.stderr);
}

#[test]
fn reasons_that_take_turns_are_told_to_the_user_once_each() {
    let (endpoint, cli) = logged_in();
    let proxy = Proxied::start(&cli, &[]);
    for round in 0..3 {
        let lost = proxy.ask_aside("GET", "/x", &[], b"");
        endpoint.expect("GET", "/x").hang_up();
        lost.join().unwrap().own(502);
        let refused = proxy.ask_aside("GET", "/x", &[], b"");
        endpoint.expect("GET", "/x").reply(Answer::error(401, "expired"));
        if round == 0 {
            // For so long nobody asks again.
            endpoint.expect("POST", "/refresh").reply(Answer::new(503, "").with("Retry-After", "77"));
        }
        refused.join().unwrap().own(503);
    }
    let output = proxy.stop().expect(143);
    assert_eq!(output.stderr.matches("error: ").count(), 2, "{}", output.stderr);
}

#[test]
fn a_fault_of_a_clients_own_is_told_to_nobody_else() {
    let (_endpoint, cli) = logged_in();
    let proxy = Proxied::start(&cli, &["-v"]);
    let head = proxy.head("POST", "/x", &[("Transfer-Encoding", "chunked")]);
    proxy.send(format!("{head}this is no chunk\r\n").as_bytes()).own(400);
    let output = proxy.stop().expect(143);
    assert!(!output.stderr.contains("error: "), "{}", output.stderr);
    assert!(output.stderr.contains("could not read the body of the request"), "{}", output.stderr);
}
