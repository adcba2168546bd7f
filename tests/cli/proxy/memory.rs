//! Long bodies, and what is held of them in memory, as Linux tells it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

use super::streams::ask;
use super::{Bare, Proxied, read_head};
use crate::support::{Answer, logged_in};

/// Far more than may be kept: were it collected anywhere on the way, it would show.
const LONG: usize = 192 * 1024 * 1024;
const MEMORY: u64 = 64 * 1024 * 1024;

#[test]
fn long_bodies_pass_both_ways_in_bounded_memory() {
    let (server, cli) = Bare::start();
    let proxy = Proxied::start(&cli, &[]);
    let length = LONG.to_string();
    let mut client = ask(&proxy, &proxy.head("PUT", "/x", &[("Content-Length", &length)]));
    let mut sending = client.try_clone().unwrap();
    let pour = |to: &mut TcpStream| {
        let piece = vec![b'x'; 1024 * 1024];
        for _ in 0..LONG / piece.len() {
            to.write_all(&piece).unwrap();
        }
    };
    let drain = |from: &mut TcpStream| {
        let mut piece = vec![0; 1024 * 1024];
        let mut missing = LONG;
        while missing > 0 {
            let most = piece.len().min(missing);
            let read = from.read(&mut piece[..most]).unwrap();
            assert!(read > 0, "{missing} bytes are missing");
            missing -= read;
        }
    };
    let sender = thread::spawn(move || pour(&mut sending));
    let mut upstream = server.accept();
    read_head(&mut upstream);
    // Nobody reads: then nobody can go on writing, for as long as nothing is collected.
    drain(&mut upstream);
    sender.join().unwrap();
    write!(upstream, "HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n\r\n").unwrap();
    let sender = thread::spawn(move || pour(&mut upstream));
    read_head(&mut client);
    drain(&mut client);
    sender.join().unwrap();
    let peak = peak_of(&proxy);
    assert!(peak < MEMORY, "it held {peak} bytes");
}

/// Returns how much memory the proxy held at most, in bytes.
fn peak_of(proxy: &Proxied) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.running.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

#[test]
fn what_is_kept_of_bodies_takes_no_more_than_the_bodies() {
    const CLIENTS: usize = 8;
    let (endpoint, cli) = logged_in();
    let proxy = Proxied::start(&cli, &[]);
    let before = peak_of(&proxy);
    let body = vec![b'x'; 8 * 1024 * 1024];
    let clients: Vec<_> = (0..CLIENTS).map(|_| proxy.ask_aside("PUT", "/x", &[], &body)).collect();
    let refused: Vec<_> = (0..CLIENTS).map(|_| endpoint.expect("PUT", "/x")).collect();
    for call in refused {
        call.reply(Answer::error(401, "expired"));
    }
    endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
    let again: Vec<_> = (0..CLIENTS).map(|_| endpoint.expect("PUT", "/x")).collect();
    let held = peak_of(&proxy) - before;
    for call in again {
        assert_eq!((call.bearer(), call.length), (Some("access-2"), body.len() as u64));
        call.reply(Answer::new(204, ""));
    }
    for client in clients {
        assert_eq!(client.join().unwrap().status, 204);
    }
    // Beside them there are what is on its way, and what the allocator keeps back.
    assert!(held < (CLIENTS * body.len()) as u64 * 3 / 2, "it held {held} bytes");
}

#[test]
fn a_slow_reader_slows_the_server() {
    let (server, cli) = Bare::start();
    let proxy = Proxied::start(&cli, &[]);
    let client = ask(&proxy, &proxy.head("GET", "/x", &[]));
    let mut upstream = server.accept();
    read_head(&mut upstream);
    write!(upstream, "HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n\r\n").unwrap();
    // The client reads nothing. What fits into the buffers of all sockets goes; then the server has to wait.
    upstream.set_write_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    let piece = vec![b'x'; 1024 * 1024];
    let taken = (0..LONG / piece.len()).take_while(|_| upstream.write_all(&piece).is_ok()).count();
    assert!(taken < 64, "{taken} MiB went somewhere");
    drop(client);
}
