//! Lines on their way to whoever reads the log.
//!
//! - Nobody who has something to say waits for the reader: a line is put into a buffer, and a thread writes it.
//! - The buffer is bounded. A line that finds no room is lost, and the next one that is written says how many were.
//! - Many lines are one write: after each the thread pauses for a moment in which they gather.
//! - At the end what is in the buffer is written, unless the reader still does not read after a second.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Some ten thousand lines.
const ROOM: usize = 1024 * 1024;
/// How late a line may be.
const PAUSE: Duration = Duration::from_millis(5);
/// How long the end waits for a reader.
const PATIENCE: Duration = Duration::from_secs(1);

/// The way to the thread that writes.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

/// Dropped at the end: waits until all is written.
#[derive(Debug)]
pub struct Flush(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// A standard mutex: it is held to copy a line, or to take the buffer; never while something is written.
    state: Mutex<State>,
    /// There is a line, or it is the end. Only for a thread that waits for that, and not for one that pauses.
    news: Condvar,
    /// All is written.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    lost: u64,
    idle: bool,
    closing: bool,
    closed: bool,
}

impl Lines {
    /// Starts the thread that writes; without one, there would be no log.
    pub(super) fn start(writer: impl Write + Send + 'static) -> io::Result<(Self, Flush)> {
        let shared = Arc::new(Shared::default());
        let writing = Arc::clone(&shared);
        thread::Builder::new().name("log".to_owned()).spawn(move || writing.write_until_closed(writer))?;
        Ok((Self(Arc::clone(&shared)), Flush(shared)))
    }
}

/// One call is one line, or several: none is ever split.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state();
        if state.waiting.len() + line.len() > ROOM {
            state.lost += 1;
        } else {
            state.waiting.extend_from_slice(line);
            if mem::take(&mut state.idle) {
                self.0.news.notify_one();
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing can be torn: a panic while it is held is one for want of memory.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_until_closed(&self, mut writer: impl Write) {
        let mut lines = Vec::new();
        loop {
            let mut state = self.state();
            while state.waiting.is_empty() && !state.closing {
                state.idle = true;
                state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.idle = false;
            if state.waiting.is_empty() {
                state.closed = true;
                self.done.notify_all();
                return;
            }
            mem::swap(&mut lines, &mut state.waiting);
            let lost = mem::take(&mut state.lost);
            let closing = state.closing;
            drop(state);
            if lost > 0 {
                let _ = writeln!(lines, "{lost} lines of this log are lost: its reader was too slow");
            }
            // A log that cannot be written to ends nothing.
            let _ = writer.write_all(&lines);
            lines.clear();
            if !closing {
                thread::sleep(PAUSE);
            }
        }
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.closing = true;
        self.0.news.notify_one();
        let closed = self.0.done.wait_timeout_while(state, PATIENCE, |state| !state.closed);
        drop(closed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes what is written, when it is told to.
    struct Slow {
        go: mpsc::Receiver<()>,
        written: Written,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.go.recv();
            self.written.lock().unwrap().push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    type Written = Arc<Mutex<Vec<Vec<u8>>>>;

    fn slow() -> (Slow, mpsc::Sender<()>, Written) {
        let (go, gone) = mpsc::channel();
        let written = Written::default();
        (Slow { go: gone, written: Arc::clone(&written) }, go, written)
    }

    /// What is being written when the reader stalls is no longer what waits, so twice the room may be kept.
    const LINES: usize = 3 * ROOM / 100;

    #[test]
    fn a_reader_that_stalls_holds_up_nobody_and_is_told_how_many_lines_it_missed() {
        let (writer, go, written) = slow();
        let (mut lines, flush) = Lines::start(writer).unwrap();
        let line = [b'x'; 99];
        let line = [line.as_slice(), b"\n"].concat();
        lines.write_all(b"the first\n").unwrap();
        for _ in 0..LINES {
            lines.write_all(&line).unwrap();
        }
        drop(go);
        drop(flush);
        let text = written.lock().unwrap().concat();
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("the first\n"));
        let (told, whole): (Vec<_>, Vec<_>) =
            text.lines().skip(1).partition(|line| line.contains(" lines of this log"));
        assert!(whole.iter().all(|line| line.len() == 99), "no line is split");
        let lost: usize = told.iter().map(|line| line.split(' ').next().unwrap().parse::<usize>().unwrap()).sum();
        assert_eq!(lost + whole.len(), LINES);
        assert!(whole.len() >= ROOM / 100, "{} were kept", whole.len());
        assert!(lost > 0);
    }

    #[test]
    fn the_end_does_not_wait_for_a_reader_for_ever() {
        let (writer, go, _) = slow();
        let (mut lines, flush) = Lines::start(writer).unwrap();
        lines.write_all(b"nobody reads this\n").unwrap();
        drop(flush);
        drop(go);
    }

    #[test]
    fn what_was_said_last_is_written_and_a_writer_that_fails_ends_nothing() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (mut lines, flush) = Lines::start(Broken).unwrap();
        lines.write_all(b"one\n").unwrap();
        lines.write_all(b"two\n").unwrap();
        drop(flush);
        for _ in 0..100 {
            let (writer, go, written) = slow();
            drop(go);
            let (mut lines, flush) = Lines::start(writer).unwrap();
            lines.write_all(b"the last\n").unwrap();
            drop(flush);
            assert_eq!(written.lock().unwrap().concat(), b"the last\n");
        }
    }
}
