//! Other people's clients, across many expiries of the real server: none of them ever sees a refusal.

use std::io::{BufReader, Write as _};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Proxied, read_exactly, read_head};
use crate::peers::{Koa, turn};
use crate::support::{Cli, Output, Running, Server, node};

/// Access tokens live for two seconds, and so this is a few of their lives.
const FOR: Duration = Duration::from_secs(6);

struct Stage {
    server: Server,
    cli: Cli,
}

impl Stage {
    fn set() -> Self {
        let server = Server::with_access_ttl("2s");
        let cli = Cli::new(&server.url);
        cli.login();
        Self { server, cli }
    }

    /// Runs a foreign client to its end.
    #[track_caller]
    fn run(&self, program: &str, arguments: &[&str], input: &str) -> Output {
        let mut command: Command = self.cli.command_of(program);
        command.args(arguments).stdin(Stdio::piped());
        Running::start_with_input(command, input).finish().expect(0)
    }
}

#[test]
fn sixty_four_clients_at_once_see_no_expiry() {
    let stage = Stage::set();
    let proxy = Proxied::start(&stage.cli, &[]);
    let begin = Instant::now();
    let calls: usize = thread::scope(|scope| {
        let clients: Vec<_> = (0..64)
            .map(|number: u32| {
                let proxy = &proxy;
                scope.spawn(move || {
                    let (mut calls, keeps) = (0, number.is_multiple_of(2));
                    while begin.elapsed() < FOR {
                        // Half of them keep their connection, half come anew each time.
                        let connection = if keeps { "keep-alive" } else { "close" };
                        let head = proxy.head("GET", "/protected", &[("Connection", connection)]);
                        let mut stream = BufReader::new(proxy.connect());
                        for _ in 0..if keeps { 50 } else { 1 } {
                            stream.get_mut().write_all(head.as_bytes()).unwrap();
                            let answer = read_head(&mut stream);
                            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                            assert_eq!(read_exactly(&mut stream, 43).last(), Some(&b'}'));
                            calls += 1;
                        }
                    }
                    calls
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    let (refreshes, elapsed) = (stage.server.refreshes(), begin.elapsed());
    assert!(calls > 64, "{calls} calls");
    assert!(refreshes >= 2, "{refreshes} refreshes in {elapsed:?}");
    // One at the start, and one in the last quarter of each life: none for any of the clients.
    let most = 1 + elapsed.as_millis() / 1500;
    assert!(refreshes as u128 <= most, "{refreshes} refreshes in {elapsed:?}");
    assert_eq!((stage.server.refused_refreshes(), stage.server.reuses()), (0, 0));
    proxy.stop().expect(143);
}

#[test]
#[ignore = "needs curl: run `make test`"]
fn curl_sees_no_expiry() {
    let stage = Stage::set();
    let path = stage.cli.path("api.sock");
    let listen = format!("unix:{}", path.display());
    let (tcp, unix) = (Proxied::start(&stage.cli, &[]), Proxied::start(&stage.cli, &["--listen", &listen]));
    let begin = Instant::now();
    let mut calls = 0;
    while begin.elapsed() < FOR {
        let url = format!("{}/protected", tcp.address);
        let socket = path.to_str().unwrap();
        for arguments in [
            ["--fail", "--silent", &url].as_slice(),
            &["--fail", "--silent", "--unix-socket", socket, "http://localhost/protected"],
        ] {
            let output = stage.run("curl", arguments, "");
            assert_eq!(output.text(), r#"{"message":"Protected resource","userId":1}"#);
            calls += 1;
        }
    }
    assert!(calls >= 4 && stage.server.refreshes() >= 2, "{calls} calls, {} refreshes", stage.server.refreshes());
    // A body, announced with `Expect: 100-continue`, to a call that wants to read it.
    let long = stage.cli.path("long.json");
    std::fs::write(&long, vec![b' '; 2 * 1024 * 1024]).unwrap();
    let body = format!("@{}", long.display());
    let url = format!("{}/login", tcp.address);
    let output =
        stage.run("curl", &["--silent", "--data-binary", &body, "-w", "%{http_code}", "-o", "/dev/null", &url], "");
    assert_eq!(output.text(), "413", "the server's own answer");
    for proxy in [tcp, unix] {
        proxy.stop().expect(143);
    }
}

#[test]
#[ignore = "needs Python 3: run `make test`"]
fn pythons_urllib_sees_no_expiry() {
    const CLIENT: &str = r#"
import sys, time, urllib.request
base, seconds = sys.argv[1], float(sys.argv[2])
end, calls = time.monotonic() + seconds, 0
while time.monotonic() < end:
    with urllib.request.urlopen(base + "/protected") as answer:
        assert answer.status == 200 and answer.read().endswith(b"}")
    calls += 1
    time.sleep(0.05)
print(calls)
"#;
    let stage = Stage::set();
    let proxy = Proxied::start(&stage.cli, &[]);
    let output = stage.run("python3", &["-", &proxy.address, &FOR.as_secs().to_string()], CLIENT);
    assert!(output.text().trim().parse::<u32>().unwrap() > 10, "{output:?}");
    assert!(stage.server.refreshes() >= 2);
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn a_websocket_client_sees_no_expiry() {
    let _turn = turn();
    let server = Koa::start(&["websocket-server.mjs"], Duration::from_secs(2));
    let cli = server.user();
    let proxy = Proxied::start(&cli, &[]);
    let url = format!("{}/echo", proxy.address.replacen("http", "ws", 1));
    let client = node(&["websocket-client.mjs", &url, &FOR.as_millis().to_string()]);
    let told = Running::start(client).finish().expect(0).json();
    assert!(told["opened"].as_u64().unwrap() > 10, "{told}");
    assert_eq!((&told["echoed"], &told["failed"]), (&told["opened"], &json!(0)), "{told}");
    let counts = server.counts();
    assert!(counts["refresh"].as_u64().unwrap() >= 2, "{counts}");
    assert_eq!(counts["sockets"], told["opened"]);
    proxy.stop().expect(143);
}
