//! `authcli proxy`: what other programs get to see, and who does.

mod access;
mod clients;
mod ends;
mod failures;
#[cfg(target_os = "linux")]
mod memory;
mod passing;
mod streams;
mod unix;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ChildStdout;
use std::thread;

use serde_json::{Value, json};

use crate::support::{BOUND, Cli, Output, Running, Tls};

/// A proxy that runs.
struct Proxied {
    running: Running,
    /// What it printed: `http://127.0.0.1:PORT/KEY`, or `unix:PATH`.
    address: String,
    /// Open for as long as it runs.
    stdout: BufReader<ChildStdout>,
}

/// An answer, read to the end of its connection.
#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Proxied {
    #[track_caller]
    fn start(cli: &Cli, arguments: &[&str]) -> Self {
        let (running, stdout) = cli.start_with_stdout(&[&["proxy"], arguments].concat());
        Self::adopt(running, stdout)
    }

    /// The same by a shell that does `setup` first.
    #[track_caller]
    fn start_after(setup: &str, cli: &Cli, arguments: &[&str]) -> Self {
        let script = format!("{setup} && exec \"$0\" \"$@\"");
        let mut command = cli.command_of("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_authcli"), "proxy"]).args(arguments);
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        Self::adopt(Running::adopt(child), stdout)
    }

    #[track_caller]
    fn adopt(running: Running, stdout: ChildStdout) -> Self {
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let Some(address) = line.strip_prefix("listening on ") else {
            panic!("it said {line:?} and ended: {:?}", running.finish());
        };
        Self { running, address: address.trim_end().to_owned(), stdout }
    }

    /// `127.0.0.1:PORT`
    fn authority(&self) -> &str {
        self.address.strip_prefix("http://").unwrap().split_once('/').unwrap().0
    }

    /// What stands before every path, without a slash.
    fn key(&self) -> &str {
        self.address.rsplit_once('/').unwrap().1
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.authority()).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        stream
    }

    /// The head of a request that asks for `path` with the key, and closes the connection after it.
    fn head(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        let mut head = format!("{method} /{}{path} HTTP/1.1\r\n", self.key());
        let own = [("Host", self.authority()), ("Connection", "close")];
        // `Connection` is the test's where it has one of its own.
        let own = own.iter().filter(|(name, _)| !headers.iter().any(|(given, _)| given == name));
        for (name, value) in own.chain(headers) {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        head + "\r\n"
    }

    /// Sends bytes as they are, and reads all that comes.
    #[track_caller]
    fn send(&self, bytes: &[u8]) -> Reply {
        let mut stream = self.connect();
        // It may be refused before all of it is read.
        let _ = stream.write_all(bytes);
        Reply::read(stream)
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let length = body.len().to_string();
        let mut headers = headers.to_vec();
        if !body.is_empty() {
            headers.push(("Content-Length", &length));
        }
        self.send(&[self.head(method, path, &headers).as_bytes(), body].concat())
    }

    /// The same in another thread, so that the test can play the server meanwhile.
    fn ask_aside(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> thread::JoinHandle<Reply> {
        let length = body.len().to_string();
        let mut headers = headers.to_vec();
        if !body.is_empty() {
            headers.push(("Content-Length", &length));
        }
        let request = [self.head(method, path, &headers).as_bytes(), body].concat();
        let mut stream = self.connect();
        thread::spawn(move || {
            let _ = stream.write_all(&request);
            Reply::read(stream)
        })
    }

    /// Ends it as a supervisor does.
    #[track_caller]
    fn stop(self) -> Output {
        self.running.signal(rustix::process::Signal::TERM);
        self.finish()
    }

    #[track_caller]
    fn finish(mut self) -> Output {
        let output = self.running.finish();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "nothing but the address goes to standard output");
        output
    }
}

impl Reply {
    #[track_caller]
    fn read(mut stream: impl Read) -> Self {
        let mut bytes = Vec::new();
        // A connection that is closed with bytes unread is reset; what came before that is there.
        let _ = stream.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|end| end == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {}", String::from_utf8_lossy(&bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head, body: bytes[end + 4..].to_vec() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Asserts that the proxy itself answered, and returns what it said.
    #[track_caller]
    fn own(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.header("proxy-status").unwrap().starts_with("authcli; error="), "{self:?}");
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A server that the test plays on bare sockets: for what [`Endpoint`](crate::support::Endpoint) is too well-behaved for.
/// Its user has logged in, with the tokens `access-1` and `refresh-1`.
struct Bare {
    listener: TcpListener,
    /// Before it, if it is called over TLS.
    _tls: Option<Tls>,
}

impl Bare {
    fn start() -> (Self, Cli) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let cli = Cli::new(&format!("http://{}", listener.local_addr().unwrap()));
        Self::log_in(Self { listener, _tls: None }, cli)
    }

    fn start_over_tls() -> (Self, Cli) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tls = Tls::before(&format!("http://{}", listener.local_addr().unwrap()), "api.test");
        let cli = tls.user();
        Self::log_in(Self { listener, _tls: Some(tls) }, cli)
    }

    fn log_in(bare: Self, cli: Cli) -> (Self, Cli) {
        let login = cli.start_with_input(&["login", "-u", "admin", "--password-stdin"], "password\n");
        let mut stream = bare.accept();
        let tokens = json!({"accessToken": "access-1", "refreshToken": "refresh-1", "expiresIn": 900}).to_string();
        while !read_head(&mut stream).starts_with("POST /login") {
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{tokens}",
            tokens.len()
        )
        .unwrap();
        login.finish().expect(0);
        (bare, cli)
    }

    fn accept(&self) -> TcpStream {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        stream
    }
}

/// Reads to the end of a head, and no byte further.
#[track_caller]
fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "it ended in {:?}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Reads so many bytes.
#[track_caller]
fn read_exactly(stream: &mut impl Read, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}
