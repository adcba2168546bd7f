//! A server that the test answers by hand.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::BOUND;

/// How much of a body is kept: more than a program may keep to send it again.
const KEPT: usize = 16 * 1024 * 1024;
const PIECE: usize = 1024 * 1024;
/// Always the same ones: to make them would take as long as to send them.
static ZEROS: [u8; PIECE] = [0; PIECE];

/// An HTTP/1.1 server. Every request waits for the test to answer it, except HEAD of a directory, with which a login finds
/// out whether anybody is there: that is answered at once.
///
/// It speaks as much of the protocol as this client needs, in as many lines: so nothing that client and server might
/// have in common can hide a fault, and an answer can be as broken as a test wants it.
pub(crate) struct Endpoint {
    pub(crate) url: String,
    address: SocketAddr,
    calls: Receiver<Call>,
    connections: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    acceptor: Option<thread::JoinHandle<()>>,
}

/// A request that waits for its answer. Dropped without one, its connection is closed.
pub(crate) struct Call {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    /// The body, or its first [`KEPT`] bytes.
    pub(crate) body: Vec<u8>,
    /// How long it was.
    pub(crate) length: u64,
    answer: Sender<Answer>,
}

/// What the test answers.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// How many zeros follow that.
    zeros: u64,
    /// What is announced but never comes.
    missing: usize,
    /// Whether the connection stays open although something is missing.
    stalls: bool,
}

impl Endpoint {
    pub(crate) fn start() -> Self {
        let (send_calls, calls) = mpsc::channel();
        let (connections, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (counter, stopped) = (Arc::clone(&connections), Arc::clone(&stop));
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                counter.fetch_add(1, Ordering::SeqCst);
                let calls = send_calls.clone();
                // A client that goes away in the middle is what some tests are about.
                thread::spawn(move || drop(stream.and_then(|stream| converse(&stream, &calls))));
            }
        });
        let url = format!("http://{address}");
        Self { url, address, calls, connections, stop, acceptor: Some(acceptor) }
    }

    /// Waits for the next call.
    #[track_caller]
    pub(crate) fn next(&self) -> Call {
        self.poll(BOUND).expect("a call was expected, and none came")
    }

    /// Waits for the next call, which must be this one.
    #[track_caller]
    pub(crate) fn expect(&self, method: &str, path: &str) -> Call {
        let call = self.next();
        assert_eq!((call.method.as_str(), call.path.as_str()), (method, path));
        call
    }

    /// Refuses the refresh that must come next.
    #[track_caller]
    pub(crate) fn refuse_refresh(&self) {
        self.refuse(self.expect("POST", "/refresh"), Answer::error(403, "Invalid refresh token"));
    }

    /// Refuses a refresh. The client then ends the session, in case somebody else goes on with it.
    #[track_caller]
    pub(crate) fn refuse(&self, refresh: Call, refusal: Answer) {
        let refused = refresh.refresh_token();
        refresh.reply(refusal);
        let logout = self.expect("POST", "/logout");
        assert_eq!(logout.refresh_token(), refused);
        logout.reply(Answer::new(204, ""));
    }

    pub(crate) fn poll(&self, patience: Duration) -> Option<Call> {
        self.calls.recv_timeout(patience).ok()
    }

    /// Returns how many connections were ever made.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then sees that it is to stop.
        drop(TcpStream::connect(self.address));
        let ended = self.acceptor.take().unwrap().join();
        if thread::panicking() {
            return;
        }
        assert!(ended.is_ok(), "the endpoint broke down");
        let left: Vec<String> = self.calls.try_iter().map(|call| format!("{} {}", call.method, call.path)).collect();
        assert!(left.is_empty(), "calls that no test expected: {left:?}");
    }
}

/// Hands request after request of one connection over, and writes the answers.
fn converse(stream: &TcpStream, calls: &Sender<Call>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut headers = Vec::new();
        let mut said = Some(0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { break };
            let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
            match name.as_str() {
                "content-length" => said = Some(value.parse().unwrap()),
                "transfer-encoding" => said = None,
                _ => {}
            }
            headers.push((name, value));
        }
        let (body, length) = read_body(&mut reader, said)?;
        if method == "HEAD" && path.ends_with('/') {
            (&*stream).write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")?;
            continue;
        }
        let (answer, answered) = mpsc::channel();
        let has_body = method != "HEAD";
        calls.send(Call { method, path, headers, body, length, answer }).map_err(io::Error::other)?;
        let answer = answered.recv().map_err(io::Error::other)?;
        answer.write(stream, has_body)?;
        if answer.stalls {
            // Until the client has had enough.
            io::copy(&mut reader, &mut io::sink())?;
        }
        if answer.missing > 0 {
            return Ok(());
        }
    }
}

/// Reads a body of the length that was said, or in chunks, and returns what is kept of it and its length.
fn read_body(reader: &mut impl io::BufRead, said: Option<u64>) -> io::Result<(Vec<u8>, u64)> {
    let (mut kept, mut length) = (Vec::new(), 0);
    let mut read = |reader: &mut dyn io::Read, count: u64| -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        let mut left = count;
        while left > 0 {
            let next = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let next = &mut piece[..next];
            reader.read_exact(next)?;
            kept.extend_from_slice(&next[..next.len().min(KEPT - kept.len())]);
            left -= next.len() as u64;
        }
        length += count;
        Ok(())
    };
    if let Some(said) = said {
        read(reader, said)?;
    } else {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let chunk = u64::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
            read(reader, chunk)?;
            reader.read_line(&mut String::new())?;
            if chunk == 0 {
                break;
            }
        }
    }
    Ok((kept, length))
}

impl Call {
    pub(crate) fn reply(self, answer: Answer) {
        // Whoever called may have gone away.
        let _ = self.answer.send(answer);
    }

    /// Replies, and leaves the call to be looked at.
    pub(crate) fn reply_with(&mut self, answer: Answer) {
        let _ = self.answer.send(answer);
    }

    /// Closes the connection without an answer.
    pub(crate) fn hang_up(self) {
        drop(self.answer);
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers_named(name).next()
    }

    pub(crate) fn headers_named(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |header| header.0.eq_ignore_ascii_case(name)).map(|header| header.1.as_str())
    }

    /// Returns the token that was sent along.
    pub(crate) fn bearer(&self) -> Option<&str> {
        self.header("Authorization")?.strip_prefix("Bearer ")
    }

    /// Returns the fields of the form that was sent, each of which stands there once.
    #[track_caller]
    pub(crate) fn form(&self) -> BTreeMap<String, String> {
        assert_eq!(self.header("content-type"), Some("application/x-www-form-urlencoded"));
        let pairs: Vec<_> = url::form_urlencoded::parse(&self.body).into_owned().collect();
        let fields = BTreeMap::from_iter(pairs.clone());
        assert_eq!(fields.len(), pairs.len(), "{pairs:?}");
        fields
    }

    /// Returns the refresh token that was sent in the body.
    #[track_caller]
    pub(crate) fn refresh_token(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        body["refreshToken"].as_str().unwrap().to_owned()
    }
}

impl Answer {
    pub(crate) fn new(status: u16, body: &str) -> Self {
        Self::bytes(status, body.as_bytes().to_vec())
    }

    pub(crate) fn bytes(status: u16, body: Vec<u8>) -> Self {
        Self { status, headers: Vec::new(), body, zeros: 0, missing: 0, stalls: false }
    }

    /// A body of so many zeros, made while it is sent.
    pub(crate) fn zeros(length: u64) -> Self {
        Self { zeros: length, ..Self::new(200, "") }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, &body.to_string()).with("Content-Type", "application/json")
    }

    /// A pair of tokens, as login and refresh answer it.
    pub(crate) fn tokens(access: &str, refresh: &str, expires_in: f64) -> Self {
        Self::json(200, &json!({"accessToken": access, "refreshToken": refresh, "expiresIn": expires_in}))
    }

    /// The seed's refusals.
    pub(crate) fn error(status: u16, error: &str) -> Self {
        Self::json(status, &json!({"error": error}))
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Breaks off when that many bytes of the body are still to come.
    pub(crate) fn missing(mut self, bytes: usize) -> Self {
        self.missing = bytes;
        self
    }

    /// Never comes to its end, and leaves the connection open.
    pub(crate) fn stalling(self) -> Self {
        Self { stalls: true, ..self.missing(1000) }
    }

    fn write(&self, mut stream: &TcpStream, has_body: bool) -> io::Result<()> {
        let reason = reqwest::StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason.unwrap_or_default());
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        // RFC 9110 section 8.6: none with a 204, and none needed with a 304.
        if !matches!(self.status, 204 | 304) {
            let length = (self.body.len() + self.missing) as u64 + self.zeros;
            head.extend(["content-length: ", &length.to_string(), "\r\n"]);
        }
        head.push_str("\r\n");
        if !has_body {
            return stream.write_all(head.as_bytes());
        }
        stream.write_all(&[head.as_bytes(), &self.body].concat())?;
        let mut left = self.zeros;
        while left > 0 {
            let next = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            stream.write_all(&ZEROS[..next])?;
            left -= next as u64;
        }
        Ok(())
    }
}
