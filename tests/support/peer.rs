//! A foreign peer of `tests/peers/`, in Node.js.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::Value;

use super::BOUND;

/// A server that runs; ended with the value.
pub(crate) struct Peer {
    child: Child,
    pub(crate) url: String,
}

impl Peer {
    /// Starts a script, and waits until it says where it listens.
    #[track_caller]
    pub(crate) fn start(script: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = node(script);
        command.env("PORT", "0").envs(environment.iter().copied()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        // Guards the process from here on.
        let mut peer = Self { child, url: String::new() };
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        // Some say other things, before and after.
        let address = lines.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        peer.url = address.expect("a line names the address");
        thread::spawn(move || lines.for_each(drop));
        peer
    }

    /// Asks the peer itself something, over a connection of the test's own.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(self.url.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!("{method} {path} HTTP/1.0\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").expect("the answer has a body");
        serde_json::from_str(body).unwrap()
    }

    /// Asks how often each call was made.
    pub(crate) fn counts(&self) -> Value {
        self.ask("GET", "/__counts", &Value::Null)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Fails only for a process that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that runs a script of `tests/peers/`.
pub(crate) fn node(script: &[&str]) -> Command {
    let mut command = Command::new("node");
    command.arg(script_path(script[0])).args(&script[1..]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Returns where a script of `tests/peers/` is.
pub(crate) fn script_path(script: &str) -> String {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
    assert!(peers.join("node_modules").exists(), "the peers are not installed: run `npm ci` in tests/peers");
    peers.join(script).to_str().unwrap().to_owned()
}
