//! Who gets through.

use std::time::Duration;

use super::Proxied;
use crate::support::{Answer, Cli, logged_in};

#[test]
fn only_who_knows_the_key_gets_through() {
    let (endpoint, cli) = logged_in();
    let proxy = Proxied::start(&cli, &[]);
    let answer = proxy.ask_aside("GET", "/x", &[], b"");
    endpoint.expect("GET", "/x").reply(Answer::new(200, "fine"));
    assert_eq!(answer.join().unwrap().text(), "fine");

    let key = proxy.key().to_owned();
    assert_eq!(key.len(), 32);
    let (other, cut) = (key.chars().rev().collect::<String>(), &key[..31]);
    for path in ["/", "/x", &format!("/{other}/x"), &format!("/{cut}/x"), &format!("/x?{key}"), &format!("//{key}/x")] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.authority());
        let refusal = proxy.send(request.as_bytes());
        let told = refusal.own(403);
        assert_eq!(told["error"], "the request lacks the key of this proxy", "{path}");
        assert!(told["hint"].as_str().unwrap().contains("authcli proxy"), "it says what to do");
        assert!(!refusal.head.contains(&key) && !refusal.text().contains(&key), "{path}");
        assert_eq!(refusal.header("connection"), Some("close"));
    }
    // The server was asked once: the endpoint fails the test over any further call.
    proxy.stop().expect(143);
}

#[test]
fn each_run_draws_another_key() {
    let (_endpoint, cli) = logged_in();
    let [first, second] = [(); 2].map(|()| Proxied::start(&cli, &[]));
    assert_ne!(first.key(), second.key());
}

#[test]
fn requests_under_another_name_or_for_another_host_are_refused() {
    let (_endpoint, cli) = logged_in();
    let proxy = Proxied::start(&cli, &[]);
    let (key, port) = (proxy.key(), proxy.authority().rsplit_once(':').unwrap().1);
    for (line, host) in [
        // DNS rebinding: the name is the attacker's, the address is ours.
        (format!("GET /{key}/x"), Some(format!("rebound.example:{port}"))),
        (format!("GET /{key}/x"), Some("127.0.0.1".into())),
        (format!("GET /{key}/x"), None),
        // Somebody takes it for a proxy to everything.
        (format!("GET http://other.example/{key}/x"), Some("other.example".into())),
        (format!("GET http://other.example/{key}/x"), Some(proxy.authority().into())),
        (format!("GET http://{}/{key}/x", proxy.authority()), Some("other.example".into())),
    ] {
        let host = host.map(|host| format!("Host: {host}\r\n")).unwrap_or_default();
        let refusal = proxy.send(format!("{line} HTTP/1.1\r\n{host}\r\n").as_bytes());
        assert_eq!(refusal.own(421)["error"], "the request is for another host than this proxy", "{line} {host}");
    }
    for (line, status) in [("CONNECT other.example:443", 405), ("OPTIONS *", 403)] {
        let refusal = proxy.send(format!("{line} HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.authority()).as_bytes());
        assert_eq!(refusal.status, status, "{line}: {refusal:?}");
    }
    assert_eq!(
        proxy.ask("TRACE", "/x", &[], b"").own(405)["error"],
        "TRACE would answer with the token that the proxy adds"
    );
}

#[test]
fn its_own_names_are_as_good_as_its_address() {
    let (endpoint, cli) = logged_in();
    let proxy = Proxied::start(&cli, &[]);
    let port = proxy.authority().rsplit_once(':').unwrap().1.to_owned();
    for (target, host) in [
        (format!("/{}/x", proxy.key()), format!("localhost:{port}")),
        (format!("{}/x", proxy.address), proxy.authority().to_owned()),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        std::thread::scope(|scope| {
            let answer = scope.spawn(|| proxy.send(request.as_bytes()));
            endpoint.expect("GET", "/x").reply(Answer::new(200, "fine"));
            assert_eq!(answer.join().unwrap().text(), "fine", "{target} {host}");
        });
    }
}

#[test]
fn pages_of_other_sites_are_refused() {
    let (_endpoint, cli) = logged_in();
    let proxy = Proxied::start(&cli, &[]);
    for header in [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Origin", "http://127.0.0.1:3000"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ] {
        for method in ["GET", "POST", "OPTIONS"] {
            let refusal = proxy.ask(method, "/x", &[header], b"");
            assert_eq!(refusal.own(403)["error"], "pages of other sites may not use this proxy", "{header:?}");
            assert_eq!(refusal.header("access-control-allow-origin"), None);
        }
    }
}

#[test]
fn what_is_no_request_is_refused() {
    let (endpoint, cli) = logged_in();
    let proxy = Proxied::start(&cli, &[]);
    let long = format!("X-Long: {}\r\n", "x".repeat(200_000));
    let many = "X: y\r\n".repeat(200);
    for (head, status) in
        [(long.as_str(), 431), (&many, 431), ("no header\r\n", 400), ("Content-Length: 1, 2\r\n", 400)]
    {
        let request = format!("GET /{}/x HTTP/1.1\r\nHost: {}\r\n{head}\r\n", proxy.key(), proxy.authority());
        assert_eq!(proxy.send(request.as_bytes()).status, status, "{}", &head[..head.len().min(20)]);
    }
    // Out of the server's own path; without one, `..` leads nowhere.
    let proxy = Proxied::start(&cli, &["--server", &format!("{}/v1", endpoint.url)]);
    for path in ["/\\evil.example", "/../x", "/%2e%2e/x"] {
        proxy.ask("GET", path, &[], b"").own(400);
    }
}

#[test]
fn only_this_machine_is_listened_at() {
    let cli = Cli::new("http://127.0.0.1:1");
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80", "example.com:80", "8080", "unix:"] {
        let output = cli.run(&["proxy", "--listen", address]).expect(2).without_stdout();
        assert!(output.stderr.contains(address), "{}", output.stderr);
    }
}

#[test]
fn nobody_listens_without_a_login_or_at_a_port_that_is_taken() {
    let (_endpoint, cli) = logged_in();
    let other = Cli::new("http://127.0.0.1:1");
    other.run(&["proxy"]).expect(7).without_stdout();
    let proxy = Proxied::start(&cli, &[]);
    let output = cli.run(&["proxy", "--listen", proxy.authority()]).expect(1).without_stdout();
    let told = output.stderr.replace(proxy.authority(), "[address]");
    // The system's number of that error differs.
    insta::assert_snapshot!(told.split(" (os error").next().unwrap(), @r"
    error: could not listen at [address]
      caused by: Address already in use
    ");
}

#[test]
fn a_client_too_many_waits_for_a_place() {
    let (endpoint, cli) = logged_in();
    // Of the files 32 are the program's own, and each client takes two.
    let proxy = Proxied::start_after("ulimit -n 38", &cli, &[]);
    let mut clients: Vec<_> = (0..3).map(|_| proxy.ask_aside("GET", "/x", &[], b"")).collect();
    let mut calls: Vec<_> = (0..3).map(|_| endpoint.expect("GET", "/x")).collect();
    let waiting = proxy.ask_aside("GET", "/late", &[], b"");
    assert!(endpoint.poll(Duration::from_millis(300)).is_none(), "nobody serves a fourth");
    calls.pop().unwrap().reply(Answer::new(200, "fine"));
    endpoint.expect("GET", "/late").reply(Answer::new(200, "fine"));
    for call in calls {
        call.reply(Answer::new(200, "fine"));
    }
    clients.push(waiting);
    for client in clients {
        assert_eq!(client.join().unwrap().text(), "fine");
    }
    proxy.stop().expect(143);
}
