//! Bodies that come bit by bit, and those that break off; WebSocket.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use rustix::process::Signal;

use super::{Bare, Proxied, Reply, read_exactly, read_head};
use crate::support::{Answer, Cli, Endpoint, logged_in};

/// A connection of a client with such a request on it.
pub(super) fn ask(proxy: &Proxied, head: &str) -> TcpStream {
    let mut stream = proxy.connect();
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[test]
fn an_event_stream_arrives_event_by_event() {
    let (server, cli) = Bare::start();
    let proxy = Proxied::start(&cli, &[]);
    let mut client = ask(&proxy, &proxy.head("GET", "/events", &[]));
    let mut upstream = server.accept();
    read_head(&mut upstream);
    upstream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200 OK\r\n"), "the head comes before any event");
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        // The next one is only sent when this one has arrived.
        write!(upstream, "{:x}\r\n{event}\r\n", event.len()).unwrap();
        assert_eq!(
            read_exactly(&mut client, event.len() + 5),
            format!("{:X}\r\n{event}\r\n", event.len()).into_bytes()
        );
    }
    upstream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(read_exactly(&mut client, 5), b"0\r\n\r\n");
}

#[test]
fn a_request_passes_while_it_is_sent() {
    let (server, cli) = Bare::start();
    let proxy = Proxied::start(&cli, &[]);
    let head = proxy.head("POST", "/up", &[("Transfer-Encoding", "chunked"), ("Expect", "100-continue")]);
    let mut client = ask(&proxy, &head);
    let mut upstream = server.accept();
    let head = read_head(&mut upstream).to_ascii_lowercase();
    assert!(head.contains("transfer-encoding: chunked\r\n") && !head.contains("content-length"), "{head}");
    assert!(!head.contains("expect"), "{head}");
    assert_eq!(read_head(&mut client), "HTTP/1.1 100 Continue\r\n\r\n");
    for piece in ["one", "three"] {
        write!(client, "{:x}\r\n{piece}\r\n", piece.len()).unwrap();
        assert_eq!(
            read_exactly(&mut upstream, piece.len() + 5),
            format!("{:X}\r\n{piece}\r\n", piece.len()).into_bytes()
        );
    }
    client.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(read_exactly(&mut upstream, 5), b"0\r\n\r\n");
    upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine").unwrap();
    assert_eq!(Reply::read(client).text(), "fine");
}

#[test]
fn a_body_refused_half_way_is_sent_again_and_goes_on() {
    let (server, cli) = Bare::start();
    let proxy = Proxied::start(&cli, &[]);
    let mut client = ask(&proxy, &proxy.head("POST", "/up", &[("Content-Length", "9")]));
    client.write_all(b"half").unwrap();
    let mut upstream = server.accept();
    read_head(&mut upstream);
    assert_eq!(read_exactly(&mut upstream, 4), b"half");
    // The server does not wait for the rest.
    upstream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").unwrap();
    let mut refresh = server.accept();
    assert!(read_head(&mut refresh).starts_with("POST /refresh "));
    let tokens = r#"{"accessToken":"access-2","refreshToken":"refresh-2","expiresIn":900}"#;
    write!(
        refresh,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{tokens}",
        tokens.len()
    )
    .unwrap();
    drop(refresh);
    let mut upstream = server.accept();
    let head = read_head(&mut upstream).to_ascii_lowercase();
    assert!(head.contains("bearer access-2") && head.contains("content-length: 9\r\n"), "{head}");
    assert_eq!(read_exactly(&mut upstream, 4), b"half");
    client.write_all(b"whole").unwrap();
    assert_eq!(read_exactly(&mut upstream, 5), b"whole");
    upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine").unwrap();
    assert_eq!(Reply::read(client).text(), "fine");
}

#[test]
fn framing_that_could_be_read_in_two_ways_reaches_the_server_in_one() {
    let (server, cli) = Bare::start();
    let proxy = Proxied::start(&cli, &[]);
    let headers = [("Content-Length", "4"), ("Transfer-Encoding", "chunked")];
    let mut client = ask(&proxy, &proxy.head("POST", "/x", &headers));
    client.write_all(b"3\r\nabc\r\n0\r\n\r\n").unwrap();
    let mut upstream = server.accept();
    let head = read_head(&mut upstream).to_ascii_lowercase();
    assert!(head.contains("transfer-encoding: chunked\r\n") && !head.contains("content-length"), "{head}");
    assert_eq!(read_exactly(&mut upstream, 13), b"3\r\nabc\r\n0\r\n\r\n");
}

#[test]
fn an_answer_that_could_be_read_in_two_ways_reaches_the_client_in_one() {
    let (server, cli) = Bare::start();
    let proxy = Proxied::start(&cli, &[]);
    let client = ask(&proxy, &proxy.head("GET", "/x", &[]));
    let mut upstream = server.accept();
    read_head(&mut upstream);
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n";
    write!(upstream, "{head}3\r\nabc\r\n0\r\n\r\n").unwrap();
    let reply = Reply::read(client);
    assert_eq!((reply.header("Content-Length"), reply.header("Transfer-Encoding")), (None, Some("chunked")));
    assert_eq!(reply.text(), "3\r\nabc\r\n0\r\n\r\n");
}

#[test]
fn trailers_of_an_answer_pass() {
    trailers_pass(Bare::start());
    trailers_pass(Bare::start_over_tls());
}

fn trailers_pass((server, cli): (Bare, Cli)) {
    let proxy = Proxied::start(&cli, &[]);
    let mut client = ask(&proxy, &proxy.head("GET", "/x", &[("TE", "trailers")]));
    let mut upstream = server.accept();
    assert!(read_head(&mut upstream).to_ascii_lowercase().contains("te: trailers\r\n"));
    let answer =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n";
    upstream.write_all(answer.as_bytes()).unwrap();
    let mut all = String::new();
    client.read_to_string(&mut all).unwrap();
    assert!(all.ends_with("3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n"), "{all}");
}

#[test]
fn a_head_request_is_told_the_length_and_gets_nothing_of_it() {
    let (server, cli) = Bare::start();
    let proxy = Proxied::start(&cli, &[]);
    let client = ask(&proxy, &proxy.head("HEAD", "/x", &[]));
    let mut upstream = server.accept();
    assert!(read_head(&mut upstream).starts_with("HEAD /x "));
    upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4711\r\n\r\n").unwrap();
    let reply = Reply::read(client);
    assert_eq!((reply.status, reply.header("Content-Length"), reply.text()), (200, Some("4711"), ""));
}

#[test]
fn a_client_that_goes_away_ends_its_request_at_the_server() {
    let (server, cli) = Bare::start();
    let proxy = Proxied::start(&cli, &[]);
    // While it waits for an answer, and in the middle of one.
    for begun in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun"] {
        let mut client = ask(&proxy, &proxy.head("GET", "/x", &[]));
        let mut upstream = server.accept();
        read_head(&mut upstream);
        upstream.write_all(begun.as_bytes()).unwrap();
        if !begun.is_empty() {
            read_head(&mut client);
        }
        drop(client);
        assert_eq!(upstream.read(&mut [0]).unwrap_or(0), 0, "the connection ends");
    }
}

#[test]
fn an_answer_that_breaks_off_breaks_off_for_the_client() {
    let (server, cli) = Bare::start();
    let proxy = Proxied::start(&cli, &[]);
    let mut client = ask(&proxy, &proxy.head("GET", "/x", &[]));
    let mut upstream = server.accept();
    read_head(&mut upstream);
    upstream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").unwrap();
    upstream.shutdown(Shutdown::Both).unwrap();
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200 "));
    let mut all = Vec::new();
    let _ = client.read_to_end(&mut all);
    assert_eq!(String::from_utf8_lossy(&all), "3\r\nabc\r\n", "nobody takes it for whole");
}

#[test]
fn a_client_that_goes_away_in_a_refresh_does_not_cut_it_off() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let proxy = Proxied::start(&cli, &[]);
    let mut client = ask(&proxy, &proxy.head("GET", "/x", &[]));
    let refresh = endpoint.expect("POST", "/refresh");
    // Who closes the side that sends has gone away; that the proxy closes as well shows that it knows.
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    refresh.reply(Answer::tokens("access-2", "refresh-2", 900.0));
    let other = proxy.ask_aside("GET", "/y", &[], b"");
    let call = endpoint.expect("GET", "/y");
    assert_eq!(call.bearer(), Some("access-2"));
    call.reply(Answer::new(200, "fine"));
    assert_eq!(other.join().unwrap().text(), "fine");
    proxy.stop().expect(143);
    assert_eq!(cli.run(&["token"]).expect(0).text(), "access-2\n");
}

#[test]
fn a_websocket_handshake_is_sent_again_after_a_refresh_and_the_socket_passes() {
    websocket_passes(Bare::start());
}

#[test]
fn a_websocket_passes_to_a_server_over_tls() {
    websocket_passes(Bare::start_over_tls());
}

fn websocket_passes((server, cli): (Bare, Cli)) {
    let proxy = Proxied::start(&cli, &[]);
    let headers =
        [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw==")];
    let mut client = ask(&proxy, &proxy.head("GET", "/ws", &headers));
    let mut upstream = server.accept();
    let head = read_head(&mut upstream).to_ascii_lowercase();
    for expected in ["connection: upgrade\r\n", "upgrade: websocket\r\n", "bearer access-1\r\n", "sec-websocket-key: "]
    {
        assert!(head.contains(expected), "{head}");
    }
    upstream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    drop(upstream);
    let mut refresh = server.accept();
    assert!(read_head(&mut refresh).starts_with("POST /refresh "));
    let tokens = r#"{"accessToken":"access-2","refreshToken":"refresh-2","expiresIn":900}"#;
    write!(
        refresh,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{tokens}",
        tokens.len()
    )
    .unwrap();
    drop(refresh);
    let mut upstream = server.accept();
    let head = read_head(&mut upstream).to_ascii_lowercase();
    assert!(head.contains("bearer access-2\r\n") && head.contains("upgrade: websocket\r\n"), "{head}");
    let granted = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";
    upstream.write_all(granted.as_bytes()).unwrap();
    let head = read_head(&mut client).to_ascii_lowercase();
    for expected in
        ["http/1.1 101 ", "connection: upgrade\r\n", "upgrade: websocket\r\n", "sec-websocket-accept: x\r\n"]
    {
        assert!(head.contains(expected), "{head}");
    }
    upstream.write_all(b"from the server").unwrap();
    assert_eq!(read_exactly(&mut client, 15), b"from the server");
    client.write_all(b"from the client").unwrap();
    assert_eq!(read_exactly(&mut upstream, 15), b"from the client");
    // Nobody waits for the end of a socket that may have none.
    proxy.running.signal(Signal::TERM);
    assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
    proxy.finish().expect(143);
}

#[test]
fn no_other_upgrade_passes() {
    let (endpoint, cli) = logged_in();
    let proxy = Proxied::start(&cli, &[]);
    let headers =
        [("Connection", "Upgrade, HTTP2-Settings, close"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQ")];
    let answer = proxy.ask_aside("GET", "/x", &headers, b"");
    let call = endpoint.expect("GET", "/x");
    assert_eq!((call.header("Upgrade"), call.header("HTTP2-Settings"), call.header("Connection")), (None, None, None));
    call.reply(Answer::new(200, "fine"));
    assert_eq!(answer.join().unwrap().text(), "fine");
}
