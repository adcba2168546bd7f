//! A network of the test's own, between the real client and the real server, that breaks as the test says.

use std::collections::VecDeque;
use std::io::{self, BufReader, Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::BOUND;

/// An HTTP/1.1 proxy on loopback. It passes every message on byte for byte, unless a [`Fault`] was chosen for the call.
pub(crate) struct Proxy {
    pub(crate) url: String,
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    acceptor: Option<thread::JoinHandle<()>>,
}

/// What happens to one call.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Request and answer each take so long.
    Delay(Duration),
    /// The connection is closed without an answer.
    Drop(When),
    /// The connection is closed in the middle of the answer's head, after the server has done its work.
    CutHead,
    /// The same in the middle of its body.
    CutBody,
    /// The proxy answers 502 itself.
    BadGateway(When),
    /// The proxy answers with a page, and calls it 200.
    Page(When),
    /// The proxy answers with what is no HTTP.
    Garbage(When),
    /// The proxy does not answer, and leaves the connection open until the client closes it.
    Hang(When),
    /// The answer announces more than comes, and the connection is closed.
    LongLength,
    /// The answer announces less than comes.
    ShortLength,
    /// The answer comes byte by byte.
    Dribble,
    /// The request arrives twice.
    Twice,
    /// The call stands still until the test lets it go on.
    Hold(Point, Stop),
}

/// Whether the server hears of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// It hears nothing of it.
    Before,
    /// It has done its work, and its answer is lost.
    After,
}

/// Where a call is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// The request was read; the server hears nothing of it yet.
    Request,
    /// The server has answered; the client has none of it yet.
    Answer,
    /// The client has half of the answer's body.
    Body,
}

/// Holds one call up.
pub(crate) struct Hold {
    arrived: Receiver<()>,
    go_on: Sender<()>,
}

/// The proxy's end of a [`Hold`].
#[derive(Debug)]
pub(crate) struct Stop {
    arrive: Sender<()>,
    gone_on: Receiver<()>,
}

/// Chooses what happens to a call, by its path.
type Chooser = Box<dyn FnMut(&str) -> Option<Fault> + Send>;

struct Shared {
    upstream: String,
    choose: Mutex<Chooser>,
    refreshes: AtomicUsize,
}

impl Proxy {
    /// A proxy to the server at `upstream`; nothing breaks yet.
    pub(crate) fn to(upstream: &str) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream: upstream.strip_prefix("http://").unwrap().to_owned(),
            choose: Mutex::new(Box::new(|_| None)),
            refreshes: AtomicUsize::new(0),
        });
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, for_all) = (Arc::clone(&stop), Arc::clone(&shared));
        let acceptor = thread::spawn(move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let shared = Arc::clone(&for_all);
                // Clients that are killed and servers that go away are what this is about.
                thread::spawn(move || client.and_then(|client| Line::new(&client, &shared).carry()).ok());
            }
        });
        Self { url: format!("http://{address}"), address, shared, stop, acceptor: Some(acceptor) }
    }

    /// Lets `choose` say from now on what happens to each call.
    pub(crate) fn choose(&self, choose: impl FnMut(&str) -> Option<Fault> + Send + 'static) {
        *self.shared.choose.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(choose);
    }

    /// Breaks the next refreshes like this, in this order; what comes after them is passed on.
    pub(crate) fn break_refreshes(&self, faults: impl IntoIterator<Item = Fault>) {
        let mut faults: VecDeque<Fault> = faults.into_iter().collect();
        self.choose(move |path| if path == "/refresh" { faults.pop_front() } else { None });
    }

    /// Holds the next call of `path` at `point`.
    pub(crate) fn hold(&self, path: &'static str, point: Point) -> Hold {
        let (arrive, arrived) = mpsc::channel();
        let (go_on, gone_on) = mpsc::channel();
        let mut fault = Some(Fault::Hold(point, Stop { arrive, gone_on }));
        self.choose(move |called| if called == path { fault.take() } else { None });
        Hold { arrived, go_on }
    }

    /// Returns how many refreshes clients have asked for.
    pub(crate) fn refreshes(&self) -> usize {
        self.shared.refreshes.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then sees that it is to stop.
        drop(TcpStream::connect(self.address));
        let ended = self.acceptor.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking(), "the proxy broke down");
    }
}

impl Hold {
    /// Waits until a call has come to the point.
    #[track_caller]
    pub(crate) fn wait(&self) {
        self.arrived.recv_timeout(BOUND).expect("a call was to be held, and none came");
    }

    /// Lets the call go on; dropped without that, it is cut off.
    pub(crate) fn release(self) {
        // The client may have gone away.
        let _ = self.go_on.send(());
    }
}

impl Stop {
    fn stand_still(self) -> io::Result<()> {
        let _ = self.arrive.send(());
        self.gone_on.recv().map_err(|_| cut())
    }
}

/// The connection of one client, and the one to the server that belongs to it.
struct Line<'a> {
    client: BufReader<&'a TcpStream>,
    server: Option<BufReader<TcpStream>>,
    shared: &'a Shared,
}

impl<'a> Line<'a> {
    fn new(client: &'a TcpStream, shared: &'a Shared) -> Self {
        Self { client: BufReader::new(client), server: None, shared }
    }

    /// Carries call after call until somebody closes the connection.
    fn carry(mut self) -> io::Result<()> {
        self.client.get_ref().set_nodelay(true)?;
        while let Some(head) = read_head(&mut self.client)? {
            let body = read_body(&mut self.client, length(&head).unwrap_or(0))?;
            let request = [head, body].concat();
            let result = self.carry_one(&request);
            if result.is_err() {
                // Whoever else holds the socket (a reader of this thread) must not keep it open.
                let _ = self.client.get_ref().shutdown(Shutdown::Both);
                return result;
            }
        }
        Ok(())
    }

    fn carry_one(&mut self, request: &[u8]) -> io::Result<()> {
        let path = word(request, 1);
        if path == "/refresh" {
            self.shared.refreshes.fetch_add(1, Ordering::SeqCst);
        }
        let fault = (self.shared.choose.lock().unwrap_or_else(PoisonError::into_inner))(&path);
        match fault {
            None => {
                let answer = self.ask(request)?;
                self.give(&answer.whole())
            }
            Some(Fault::Delay(time)) => {
                thread::sleep(time);
                let answer = self.ask(request)?;
                thread::sleep(time);
                self.give(&answer.whole())
            }
            Some(Fault::Drop(when)) => {
                self.ask_if(when, request)?;
                Err(cut())
            }
            Some(Fault::CutHead) => {
                let answer = self.ask(request)?;
                self.give(&answer.head[..answer.head.len() / 2])?;
                Err(cut())
            }
            Some(Fault::CutBody) => {
                let answer = self.ask(request)?;
                self.give(&answer.head)?;
                self.give(&answer.body[..answer.body.len() / 2])?;
                Err(cut())
            }
            Some(Fault::BadGateway(when)) => self.answer_instead(when, request, BAD_GATEWAY),
            Some(Fault::Page(when)) => self.answer_instead(when, request, PAGE),
            Some(Fault::Garbage(when)) => {
                self.answer_instead(when, request, GARBAGE)?;
                Err(cut())
            }
            Some(Fault::Hang(when)) => {
                self.ask_if(when, request)?;
                io::copy(&mut self.client, &mut io::sink())?;
                Err(cut())
            }
            Some(Fault::LongLength) => {
                let answer = self.ask(request)?.announcing(|length| length + 7);
                self.give(&answer.whole())?;
                Err(cut())
            }
            Some(Fault::ShortLength) => {
                let answer = self.ask(request)?.announcing(|length| length - 7);
                self.give(&answer.whole())
            }
            Some(Fault::Dribble) => {
                let answer = self.ask(request)?.whole();
                answer.chunks(1).try_for_each(|byte| {
                    thread::sleep(Duration::from_micros(200));
                    self.give(byte)
                })
            }
            Some(Fault::Twice) => {
                self.ask(request)?;
                let answer = self.ask(request)?;
                self.give(&answer.whole())
            }
            Some(Fault::Hold(Point::Request, stop)) => {
                stop.stand_still()?;
                let answer = self.ask(request)?;
                self.give(&answer.whole())
            }
            Some(Fault::Hold(Point::Answer, stop)) => {
                let answer = self.ask(request)?;
                stop.stand_still()?;
                self.give(&answer.whole())
            }
            Some(Fault::Hold(Point::Body, stop)) => {
                let answer = self.ask(request)?;
                let (first, second) = answer.body.split_at(answer.body.len() / 2);
                self.give(&answer.head)?;
                self.give(first)?;
                stop.stand_still()?;
                self.give(second)
            }
        }
    }

    fn answer_instead(&mut self, when: When, request: &[u8], answer: &[u8]) -> io::Result<()> {
        self.ask_if(when, request)?;
        self.give(answer)
    }

    fn ask_if(&mut self, when: When, request: &[u8]) -> io::Result<()> {
        match when {
            When::Before => Ok(()),
            When::After => self.ask(request).map(drop),
        }
    }

    /// Passes the request on and reads the whole answer.
    fn ask(&mut self, request: &[u8]) -> io::Result<Message> {
        let server = match &mut self.server {
            Some(server) => server,
            None => self.server.insert(BufReader::new(connect(&self.shared.upstream)?)),
        };
        server.get_mut().write_all(request)?;
        let head = read_head(server)?.ok_or_else(cut)?;
        let bodiless = word(request, 0) == "HEAD" || matches!(word(&head, 1).as_str(), "204" | "304");
        let body = match length(&head) {
            _ if bodiless => Vec::new(),
            Some(length) => read_body(server, length)?,
            None => return Err(io::Error::other("the server tells lengths")),
        };
        Ok(Message { head, body })
    }

    fn give(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.client.get_mut().write_all(bytes)
    }
}

/// An answer, as bytes.
struct Message {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Message {
    fn whole(&self) -> Vec<u8> {
        [self.head.as_slice(), &self.body].concat()
    }

    /// The same with another length in its head.
    fn announcing(mut self, change: impl Fn(usize) -> usize) -> Self {
        let head = String::from_utf8_lossy(&self.head);
        let lines = head.split_inclusive("\r\n").map(|line| match announced(line) {
            Some(length) => format!("content-length: {}\r\n", change(length)),
            None => line.to_owned(),
        });
        self.head = lines.collect::<String>().into_bytes();
        self
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads up to and with the empty line; `None` where the connection was closed before the first byte.
fn read_head(reader: &mut impl io::BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if reader.read_until(b'\n', &mut head)? == 0 {
            return if head.is_empty() { Ok(None) } else { Err(cut()) };
        }
    }
    Ok(Some(head))
}

fn read_body(reader: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}

/// Returns the length that a head announces.
fn length(head: &[u8]) -> Option<usize> {
    String::from_utf8_lossy(head).lines().find_map(announced)
}

fn announced(line: &str) -> Option<usize> {
    let (name, value) = line.split_once(':')?;
    if name.eq_ignore_ascii_case("content-length") { value.trim().parse().ok() } else { None }
}

/// Returns a word of the first line.
fn word(message: &[u8], number: usize) -> String {
    let line = message.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let word = line.split(|byte| *byte == b' ').nth(number).unwrap_or_default();
    String::from_utf8_lossy(word).into_owned()
}

fn cut() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

const BAD_GATEWAY: &[u8] =
    b"HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 15\r\n\r\n<h1>Sorry.</h1>";
const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 14\r\n\r\n<h1>Hello</h1>";
const GARBAGE: &[u8] = b"\x16\x03\x01 this is no HTTP\r\n\r\n";
