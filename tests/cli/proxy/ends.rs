//! Being asked to stop.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rustix::process::Signal;

use super::{Proxied, Reply};
use crate::support::{Answer, Cli, Endpoint, eventually, logged_in};
#[cfg(target_os = "linux")]
use crate::support::{SecretService, Server};

/// Where all of 127.0.0.0/8 is there without being set up, an address that nobody takes over once it is free.
fn listen(host: i32) -> String {
    if cfg!(target_os = "linux") { format!("127.77.7.{host}:0") } else { "127.0.0.1:0".into() }
}

/// Waits until the proxy has taken up that it is to stop.
#[track_caller]
fn nobody_listens_at(proxy: &Proxied) {
    eventually("nobody listens any more", || TcpStream::connect(proxy.authority()).is_err());
}

#[test]
fn requests_under_way_are_answered_and_nobody_else_is() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let (endpoint, cli) = logged_in();
        let proxy = Proxied::start(&cli, &["--listen", &listen(code)]);
        // Connections that lie idle, used and unused, do not hold it up.
        let (_unused, mut used) = (proxy.connect(), proxy.connect());
        let head = proxy.head("GET", "/first", &[("Connection", "keep-alive")]);
        used.write_all(head.as_bytes()).unwrap();
        endpoint.expect("GET", "/first").reply(Answer::new(200, "first"));
        super::read_head(&mut used);
        super::read_exactly(&mut used, 5);
        let answer = proxy.ask_aside("GET", "/x", &[], b"");
        let call = endpoint.expect("GET", "/x");
        proxy.running.signal(signal);
        nobody_listens_at(&proxy);
        call.reply(Answer::new(200, "fine"));
        assert_eq!(answer.join().unwrap().text(), "fine");
        proxy.finish().expect(code);
    }
}

#[test]
fn a_refresh_under_way_is_saved() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let proxy = Proxied::start(&cli, &["--listen", &listen(1)]);
    let answer = proxy.ask_aside("GET", "/x", &[], b"");
    let refresh = endpoint.expect("POST", "/refresh");
    proxy.running.signal(Signal::TERM);
    nobody_listens_at(&proxy);
    refresh.reply(Answer::tokens("access-2", "refresh-2", 900.0));
    let call = endpoint.expect("GET", "/x");
    assert_eq!(call.bearer(), Some("access-2"));
    call.reply(Answer::new(200, "fine"));
    assert_eq!(answer.join().unwrap().text(), "fine");
    proxy.finish().expect(143);
    assert_eq!(cli.run(&["token"]).expect(0).text(), "access-2\n");
}

#[test]
fn half_a_head_does_not_hold_it_up() {
    let (endpoint, cli) = logged_in();
    let proxy = Proxied::start(&cli, &["--listen", &listen(2)]);
    let (mut first, mut later) = (proxy.connect(), proxy.connect());
    first.write_all(b"GET /").unwrap();
    later.write_all(proxy.head("GET", "/x", &[("Connection", "keep-alive")]).as_bytes()).unwrap();
    endpoint.expect("GET", "/x").reply(Answer::new(200, "fine"));
    super::read_head(&mut later);
    super::read_exactly(&mut later, 4);
    later.write_all(b"GET /").unwrap();
    // A request under way has its time all the same.
    let answer = proxy.ask_aside("GET", "/y", &[], b"");
    let call = endpoint.expect("GET", "/y");
    proxy.running.signal(Signal::TERM);
    for mut stream in [first, later] {
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "it is closed while the request is under way");
    }
    call.reply(Answer::new(200, "fine"));
    assert_eq!(answer.join().unwrap().text(), "fine");
    let output = proxy.finish().expect(143);
    assert!(!output.stderr.contains("cut off"), "{}", output.stderr);
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "needs gnome-keyring and dbus: run `make test`"]
fn before_it_listens_there_is_nothing_to_finish() {
    let (keyring, server) = (SecretService::start(), Server::start());
    let cli = keyring.user(&server.url);
    cli.login();
    keyring.freeze();
    let running = cli.start(&["proxy"]);
    eventually("it listens for signals", || running.catches(Signal::INT));
    running.signal(Signal::INT);
    running.finish().expect(130).without_stdout().silent();
    keyring.thaw();
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (endpoint, cli) = logged_in();
    let proxy = Proxied::start(&cli, &[]);
    let answer = proxy.ask_aside("GET", "/x", &[], b"");
    let call = endpoint.expect("GET", "/x");
    proxy.running.signal(Signal::INT);
    proxy.running.signal(Signal::TERM);
    let mut proxy = proxy;
    eventually("it ends", || proxy.running.has_ended());
    proxy.finish().expect(143);
    assert!(answer.join().is_err(), "the client is cut off");
    call.hang_up();
}

#[test]
fn who_reads_the_address_may_go_away() {
    let (endpoint, cli) = logged_in();
    let proxy = Proxied::start(&cli, &[]);
    let Proxied { running, address, stdout } = proxy;
    drop(stdout);
    let mut client = TcpStream::connect(address.strip_prefix("http://").unwrap().split('/').next().unwrap()).unwrap();
    let path = address.rsplit_once('/').unwrap().1;
    let host = address.strip_prefix("http://").unwrap().split('/').next().unwrap();
    write!(client, "GET /{path}/x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    endpoint.expect("GET", "/x").reply(Answer::new(200, "fine"));
    assert_eq!(Reply::read(client).text(), "fine");
    running.signal(Signal::TERM);
    running.finish().expect(143);
}
