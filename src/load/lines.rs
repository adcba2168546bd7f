//! Lines of text from a reader that may block, and may never end.

use std::io::{self, ErrorKind, Read};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::{Mutex, Notify, mpsc};

use super::BadLine;

/// The longest line that is read, in bytes: as long as a body that is kept in memory.
const LONGEST: usize = 8 * 1024 * 1024;
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
const READ_AT_ONCE: usize = 64 * 1024;
/// A line that is longer keeps others from being read until there is room for it.
const LONG: usize = 64 * 1024;
/// How many pieces are read before anybody asks for their lines.
const AHEAD: usize = 2;

/// A line that is not blank.
#[derive(Debug)]
pub struct Line {
    /// Its number, counted from 1, blank lines included.
    pub number: u64,
    /// Its place among those that are not blank, counted from 0.
    pub place: u64,
    /// Its text, without its end (LF or CR LF).
    pub text: Result<String, BadLine>,
    /// With a long line: until this is dropped nobody gets another one. Drop it when there is room for what comes of it.
    pub turn: Option<Turn>,
}

/// Keeps everybody else from the next line.
#[derive(Debug)]
pub struct Turn(Arc<Feed>);

/// Lines that are read on a thread of its own, a little ahead of those who ask for them.
#[derive(Debug)]
pub struct Lines {
    feed: Arc<Feed>,
    /// Held by who waits for more; all others wait for that one. An async mutex: it is held across the wait.
    pieces: Mutex<mpsc::Receiver<io::Result<Vec<Line>>>>,
}

#[derive(Debug, Default)]
struct Feed {
    /// A standard mutex, held to take one line. A fair one would make a queue of those who take, and then every line would
    /// wait until a task has been woken on another core.
    ready: std::sync::Mutex<Ready>,
    turned: Notify,
}

#[derive(Debug, Default)]
struct Ready {
    lines: std::vec::IntoIter<Line>,
    /// Whether it is somebody's turn.
    held: bool,
}

enum Taken {
    Line(Line),
    Held,
    Nothing,
}

impl Lines {
    /// Begins to read. What is read is handed on at once, so who types lines need not wait for more of them.
    pub fn read(reader: impl Read + Send + 'static) -> Self {
        let (send, pieces) = mpsc::channel(AHEAD);
        // Not a task: a read that blocks must not keep the program from ending.
        thread::spawn(move || {
            let mut splitter = Splitter::default();
            if let Err(error) = splitter.split(reader, |lines| send.blocking_send(Ok(lines)).is_ok()) {
                // Fails only if nobody asks any more.
                let _ = send.blocking_send(Err(error));
            }
        });
        Self { feed: Arc::default(), pieces: Mutex::new(pieces) }
    }

    /// Returns the next line that is not blank, `None` at the end, or why reading ended before it.
    pub async fn next(&self) -> io::Result<Option<Line>> {
        loop {
            // Before the look, so that no end of a turn is missed in between.
            let turned = self.feed.turned.notified();
            match self.feed.take() {
                Taken::Line(line) => return Ok(Some(line)),
                Taken::Held => turned.await,
                Taken::Nothing => {
                    let mut pieces = self.pieces.lock().await;
                    if self.feed.has_any() {
                        continue;
                    }
                    match pieces.recv().await.transpose()? {
                        Some(lines) => self.feed.ready().lines = lines.into_iter(),
                        None => return Ok(None),
                    }
                }
            }
        }
    }
}

impl Feed {
    fn take(self: &Arc<Self>) -> Taken {
        let mut ready = self.ready();
        if ready.held {
            return Taken::Held;
        }
        let Some(mut line) = ready.lines.next() else { return Taken::Nothing };
        if line.text.as_ref().is_ok_and(|text| text.len() > LONG) {
            ready.held = true;
            line.turn = Some(Turn(Arc::clone(self)));
        }
        Taken::Line(line)
    }

    fn has_any(&self) -> bool {
        self.ready().lines.len() > 0
    }

    fn ready(&self) -> MutexGuard<'_, Ready> {
        // Nothing can be torn: a line is there or taken.
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.ready().held = false;
        self.0.turned.notify_waiters();
    }
}

#[derive(Default)]
struct Splitter {
    number: u64,
    place: u64,
    /// The beginning of a line whose end has not been read.
    begun: Vec<u8>,
    /// Whether that line is longer than any may be; what comes of it is dropped.
    too_long: bool,
}

impl Splitter {
    /// Hands on the lines of each piece that is read, until the end or until `hand_on` says that nobody wants more.
    fn split(&mut self, mut reader: impl Read, mut hand_on: impl FnMut(Vec<Line>) -> bool) -> io::Result<()> {
        let mut buffer = vec![0; READ_AT_ONCE];
        loop {
            let length = match reader.read(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let mut lines = Vec::new();
            let mut rest = &buffer[..length];
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                self.extend(&rest[..end]);
                lines.extend(self.finish());
                rest = &rest[end + 1..];
            }
            self.extend(rest);
            if length == 0 && (self.too_long || !self.begun.is_empty()) {
                lines.extend(self.finish());
            }
            if !lines.is_empty() && !hand_on(lines) || length == 0 {
                return Ok(());
            }
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        if self.begun.len() + bytes.len() > LONGEST {
            self.too_long = true;
            self.begun = Vec::new();
        }
        if !self.too_long {
            self.begun.extend_from_slice(bytes);
        }
    }

    fn finish(&mut self) -> Option<Line> {
        self.number += 1;
        let text = if self.too_long {
            Err(BadLine::new("it is longer than 8 MiB"))
        } else {
            // What some editors put at the beginning of a file is no part of its text (RFC 3629 section 6).
            let text = self.begun.strip_prefix(BYTE_ORDER_MARK).filter(|_| self.number == 1).unwrap_or(&self.begun);
            std::str::from_utf8(text).map(str::to_owned).map_err(|_| BadLine::new("it is not UTF-8"))
        };
        self.begun.clear();
        self.begun.shrink_to(READ_AT_ONCE);
        self.too_long = false;
        if text.as_ref().is_ok_and(|text| text.trim().is_empty()) {
            return None;
        }
        let place = self.place;
        self.place += 1;
        Some(Line { number: self.number, place, text, turn: None })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::poll_immediate;

    use super::*;

    /// Gives out what it holds in pieces of so many bytes.
    struct Pieces(&'static [u8], usize);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.0.len().min(self.1).min(buffer.len());
            let (piece, rest) = self.0.split_at(length);
            buffer[..length].copy_from_slice(piece);
            self.0 = rest;
            Ok(length)
        }
    }

    async fn all(reader: impl Read + Send + 'static) -> Vec<(u64, u64, Result<String, String>)> {
        let lines = Lines::read(reader);
        let mut all = Vec::new();
        while let Some(Line { number, place, text, .. }) = lines.next().await.unwrap() {
            all.push((number, place, text.map_err(|bad| bad.to_string())));
        }
        all
    }

    #[tokio::test]
    async fn lines_are_the_same_in_whatever_pieces_they_come() {
        for size in 1..20 {
            let lines = all(Pieces(b"/a\n\n  \r\n/b\r\n/\xff\n/last", size)).await;
            let expected = [
                (1, 0, Ok("/a".to_owned())),
                (4, 1, Ok("/b\r".to_owned())),
                (5, 2, Err("it is not UTF-8".to_owned())),
                (6, 3, Ok("/last".to_owned())),
            ];
            assert_eq!(lines, expected, "{size}");
        }
        assert!(all(Pieces(b"", 1)).await.is_empty());
    }

    #[tokio::test]
    async fn a_byte_order_mark_at_the_beginning_is_no_text() {
        for size in 1..8 {
            let lines = all(Pieces("\u{feff}/a\n\u{feff}/b\n".as_bytes(), size)).await;
            assert_eq!(lines, [(1, 0, Ok("/a".to_owned())), (2, 1, Ok("\u{feff}/b".to_owned()))]);
        }
        assert!(all(Pieces("\u{feff}\n".as_bytes(), 8)).await.is_empty());
    }

    #[tokio::test]
    async fn a_line_without_end_is_dropped_and_the_next_one_read() {
        let endless = io::repeat(b'x').take(3 * LONGEST as u64);
        let lines = all(endless.chain(&b"\n/next\n"[..])).await;
        assert_eq!(lines[0].2.as_ref().unwrap_err(), "it is longer than 8 MiB");
        assert_eq!(lines[1], (2, 1, Ok("/next".to_owned())));
        // Just as long as it may be.
        let lines = all(io::repeat(b'x').take(LONGEST as u64).chain(&b"\n"[..])).await;
        assert_eq!(lines[0].2.as_ref().map(String::len), Ok(LONGEST));
    }

    #[tokio::test]
    async fn a_line_is_there_before_the_next_one_has_begun() {
        let (receive, mut send) = io::pipe().unwrap();
        let lines = Lines::read(receive);
        for number in 1..4 {
            io::Write::write_all(&mut send, b"/x\n").unwrap();
            assert_eq!(lines.next().await.unwrap().unwrap().number, number);
        }
        drop(send);
        assert!(lines.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_long_line_keeps_the_others_back_until_there_is_room_for_it() {
        let long = io::repeat(b'x').take(LONG as u64 + 1);
        let lines = Lines::read(long.chain(&b"\n/next\n"[..]));
        let first = lines.next().await.unwrap().unwrap();
        let second = lines.next();
        tokio::pin!(second);
        assert!(poll_immediate(&mut second).await.is_none());
        drop(first);
        assert_eq!(second.await.unwrap().unwrap().text, Ok("/next".to_owned()));
    }

    #[tokio::test]
    async fn a_reader_that_fails_says_why() {
        struct Broken;

        impl Read for Broken {
            fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
                Err(ErrorKind::IsADirectory.into())
            }
        }

        let lines = Lines::read(b"/a\n".chain(Broken));
        assert_eq!(lines.next().await.unwrap().unwrap().number, 1);
        assert_eq!(lines.next().await.unwrap_err().kind(), ErrorKind::IsADirectory);
    }
}
