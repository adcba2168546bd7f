//! The real `authcli-server`.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{BOUND, eventually};

/// A running server with the two users of the demonstration (`admin`/`123456`, `user2`/`password2`).
pub(crate) struct Server {
    pub(crate) url: String,
    child: Child,
    /// Holds the database and the log.
    directory: TempDir,
}

impl Server {
    /// A server whose access tokens do not expire while a test runs.
    pub(crate) fn start() -> Self {
        Self::with_access_ttl("15m")
    }

    /// A server whose access tokens live so long. The server rounds their end up to a whole second; the client counts
    /// from what it is told, so for it they are over in time.
    pub(crate) fn with_access_ttl(access_ttl: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (child, url) = launch(directory.path(), &address_of_its_own(), access_ttl);
        Self { url, child, directory }
    }

    /// Ends it, unless it has been, and starts it again at the same address, on the same database, with another lifetime for the tokens that
    /// it will issue. So a token can be at its end at once, while those that replace it last.
    pub(crate) fn restart(&mut self, access_ttl: &str) {
        self.stop();
        let address = self.url.strip_prefix("http://").unwrap().to_owned();
        (self.child, self.url) = launch(self.directory.path(), &address, access_ttl);
    }

    /// Ends it; its address stays known.
    pub(crate) fn stop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
            self.child.wait().unwrap();
        }
    }

    /// Ends it as `kill -9` does; its address stays known.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Returns how many refreshes it was asked for, over all restarts.
    pub(crate) fn refreshes(&self) -> usize {
        self.logged("POST /refresh ")
    }

    pub(crate) fn logouts(&self) -> usize {
        self.logged("POST /logout ")
    }

    /// Returns how many refreshes it refused. A session that stands never has one refused, however often a refresh
    /// whose answer was lost is repeated.
    pub(crate) fn refused_refreshes(&self) -> usize {
        self.logged("POST /refresh 403 ")
    }

    /// Returns how often it took a used refresh token for a stolen one.
    pub(crate) fn reuses(&self) -> usize {
        self.logged("refresh token reuse")
    }

    /// Returns how often `text` stands in its log, over all restarts. A request is logged before it is answered, so whoever
    /// has an answer finds it counted.
    pub(crate) fn logged(&self, text: &str) -> usize {
        let log = || std::fs::read_to_string(log_of(self.directory.path())).unwrap();
        // The log is written a little late, and in order: what stands before this request's line is all there. A server that
        // has ended has written what it had.
        if let Some(id) = self.request_id() {
            eventually("the log to be written", || log().contains(&id));
        }
        log().matches(text).count()
    }

    /// Asks for something that counts for nothing, and returns the name that its line in the log has.
    fn request_id(&self) -> Option<String> {
        let host = self.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).ok()?;
        write!(stream, "GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").ok()?;
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        let mut heads = lines.filter_map(|line| {
            line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        });
        heads.find(|(name, _)| name == "x-request-id").map(|(_, id)| id)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(directory: &Path, address: &str, access_ttl: &str) -> (Child, String) {
    let program = Path::new(env!("CARGO_BIN_EXE_authcli")).with_file_name("authcli-server");
    assert!(program.exists(), "{} is missing: run `cargo build --workspace`", program.display());
    let log = File::options().create(true).append(true).open(log_of(directory)).unwrap();
    let database = format!("sqlite:{}", directory.join("demo.db").display());
    let mut command = Command::new(program);
    command.args(["serve", "--demo", "--listen", address, "--access-ttl", access_ttl, "--database", &database]);
    command.env_clear().env("HOME", directory).env("TMPDIR", directory);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let _ = stdout.read_line(&mut line);
        let _ = send.send(line);
    });
    let line = receive.recv_timeout(BOUND).unwrap_or_default();
    let Some(url) = line.strip_prefix("listening on ") else {
        let _ = child.kill();
        let _ = child.wait();
        panic!("the server said {line:?}, and in its log: {}", std::fs::read_to_string(log_of(directory)).unwrap());
    };
    (child, url.trim_end().to_owned())
}

fn log_of(directory: &Path) -> PathBuf {
    directory.join("server.log")
}

/// A free port, where it can be had on a loopback address that no other test uses: then nobody takes the port while
/// the server is restarted. Only Linux has all of 127.0.0.0/8 without being set up for it.
fn address_of_its_own() -> String {
    static NUMBER: AtomicU8 = AtomicU8::new(1);
    if cfg!(target_os = "linux") {
        let [low, high, ..] = std::process::id().to_le_bytes();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        format!("127.{}.{low}.{}:0", 64 + high % 128, number.max(1))
    } else {
        "127.0.0.1:0".to_owned()
    }
}
