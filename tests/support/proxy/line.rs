//! One connection through the proxy: read a call, let happen to it what was chosen, read the next one.

use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::{Fault, Point, Shared, When};

/// The connection of one client, and the one to the server that belongs to it.
pub(super) struct Line<'a> {
    client: BufReader<&'a TcpStream>,
    server: Option<BufReader<TcpStream>>,
    shared: &'a Shared,
}

impl<'a> Line<'a> {
    pub(super) fn new(client: &'a TcpStream, shared: &'a Shared) -> Self {
        Self { client: BufReader::new(client), server: None, shared }
    }

    /// Carries call after call until somebody closes the connection.
    pub(super) fn carry(mut self) -> io::Result<()> {
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

fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
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

/// Reads up to and with the empty line; `None` where the connection was closed before the first byte.
fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
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
