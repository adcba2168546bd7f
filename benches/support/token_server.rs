//! A server whose refreshes take as long as they are told to, and that counts what it is asked.
//!
//! It answers what `login`, a refresh and `get /protected` ask, and is the same however many tokens are fresh: so two
//! crowds of processes that differ in their tokens alone can be held against each other.

use std::io::{self, BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// So short that the token is stale before the login's process has ended.
const LIFE_FROM_LOGIN_S: f64 = 0.001;
const LIFE_FROM_REFRESH_S: f64 = 3600.0;

/// Lives as long as the process.
pub(crate) struct TokenServer {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    refresh_takes: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    issued: u64,
    /// The one access token that is good: the last one that a refresh issued. Those of logins are stale on arrival.
    good: Option<String>,
    counts: Counts,
}

/// What was asked since the last login.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) refreshes: usize,
    pub(crate) served: usize,
    pub(crate) refused: usize,
}

impl TokenServer {
    pub(crate) fn start(refresh_takes: Duration) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared { refresh_takes, state: Mutex::default() });
        let server = Self { url: format!("http://{address}"), shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                // A client that breaks off has failed, and says so itself.
                thread::spawn(move || drop(shared.converse(&stream)));
            }
        });
        server
    }

    pub(crate) fn counts(&self) -> Counts {
        self.shared.state().counts
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers request after request of one connection.
    fn converse(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some(request) = Request::read(&mut reader)? {
            let (status, body) = self.answer(&request);
            let body = if body.is_null() { String::new() } else { body.to_string() };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            (&*stream).write_all((head + &body).as_bytes())?;
        }
        Ok(())
    }

    fn answer(&self, request: &Request) -> (&'static str, Value) {
        match request.line.as_str() {
            "POST /login" => {
                let mut state = self.state();
                state.good = None;
                state.counts = Counts::default();
                ("200 OK", state.issue(LIFE_FROM_LOGIN_S))
            }
            "POST /refresh" => {
                self.state().counts.refreshes += 1;
                thread::sleep(self.refresh_takes);
                let mut state = self.state();
                let refresh_token = format!("refresh-{}", state.issued);
                if !request.body.contains(&refresh_token) {
                    return ("403 Forbidden", json!({"error": "Invalid refresh token"}));
                }
                let tokens = state.issue(LIFE_FROM_REFRESH_S);
                state.good = Some(format!("Bearer access-{}", state.issued));
                ("200 OK", tokens)
            }
            "GET /protected" => {
                let mut state = self.state();
                if state.good.is_some() && request.authorization == state.good {
                    state.counts.served += 1;
                    return ("200 OK", json!({"message": "Protected resource", "userId": 1}));
                }
                state.counts.refused += 1;
                ("403 Forbidden", json!({"error": "Invalid token"}))
            }
            "POST /logout" => ("204 No Content", Value::Null),
            _ => ("404 Not Found", Value::Null),
        }
    }
}

impl State {
    fn issue(&mut self, life: f64) -> Value {
        self.issued += 1;
        let number = self.issued;
        json!({
            "accessToken": format!("access-{number}"), "refreshToken": format!("refresh-{number}"), "expiresIn": life,
        })
    }
}

/// As much of a request as this server looks at.
struct Request {
    /// Method and path.
    line: String,
    authorization: Option<String>,
    body: String,
}

impl Request {
    /// Returns `None` at the end of the connection.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.rsplit_once(' ').map(|(line, _version)| line.to_owned()).unwrap_or_default();
        let (mut authorization, mut length) = (None, 0);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "authorization" => authorization = Some(value.trim().to_owned()),
                "content-length" => length = value.trim().parse().map_err(io::Error::other)?,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8(body).map_err(io::Error::other)?;
        Ok(Some(Self { line, authorization, body }))
    }
}
