//! One sending of a body: in pieces, so that it is seen how it goes.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use tokio::time::Instant;

use super::Source;

/// Longer bodies are sent in pieces of this length, each of which counts as progress.
const PIECE: usize = 256 * 1024;

/// A body on its way.
pub(crate) struct Outgoing {
    /// For the HTTP client.
    pub(crate) body: Option<reqwest::Body>,
    /// Known beforehand only for some.
    pub(crate) length: Option<u64>,
    /// How far it is.
    pub(crate) transfer: Transfer,
}

/// How far a body has got. Clones look at the same one.
#[derive(Clone)]
pub(crate) struct Transfer {
    state: Arc<Mutex<State>>,
}

struct State {
    /// When the HTTP client last took a piece.
    moved: Instant,
    /// Whether the source is what is being waited for.
    awaits_source: bool,
    fault: Option<io::Error>,
}

impl Outgoing {
    pub(super) fn none() -> Self {
        Self { body: None, length: None, transfer: Transfer::new() }
    }

    pub(super) fn bytes(bytes: Bytes) -> Self {
        if bytes.len() > PIECE {
            let length = bytes.len() as u64;
            return Self::stream(stream::iter([Ok(bytes)]).boxed(), Some(length));
        }
        let length = Some(bytes.len() as u64);
        Self { body: Some(bytes.into()), length, transfer: Transfer::new() }
    }

    pub(super) fn stream(source: Source, length: Option<u64>) -> Self {
        let transfer = Transfer::new();
        let mut source = source;
        let mut piece = Bytes::new();
        let mut missing = length;
        let seen = transfer.clone();
        let pieces = stream::poll_fn(move |context| {
            while piece.is_empty() {
                let next = source.poll_next_unpin(context);
                seen.source_is(next.is_pending());
                let read = match next {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(read)) => read,
                    Poll::Ready(None) if missing.is_none_or(|missing| missing == 0) => return Poll::Ready(None),
                    Poll::Ready(None) => Err(wrong_length("shorter")),
                };
                match read {
                    Ok(read) => piece = read,
                    Err(error) => return Poll::Ready(Some(Err(seen.broke(error)))),
                }
            }
            let next = piece.split_to(piece.len().min(PIECE));
            if let Some(missing) = &mut missing {
                let Some(left) = missing.checked_sub(next.len() as u64) else {
                    return Poll::Ready(Some(Err(seen.broke(wrong_length("longer")))));
                };
                *missing = left;
            }
            Poll::Ready(Some(Ok(next)))
        });
        Self { body: Some(reqwest::Body::wrap_stream(pieces)), length, transfer }
    }
}

fn wrong_length(how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("it turned out {how} than it was said to be"))
}

impl Transfer {
    fn new() -> Self {
        let state = State { moved: Instant::now(), awaits_source: false, fault: None };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Returns since when the server has been waited for; that is, now, if it is the source that lets wait.
    pub(crate) fn waiting_since(&self) -> Instant {
        let state = self.state();
        if state.awaits_source { Instant::now() } else { state.moved }
    }

    /// Takes what went wrong with the source, if it was that.
    pub(crate) fn take_fault(&self) -> Option<io::Error> {
        self.state().fault.take()
    }

    fn source_is(&self, awaited: bool) {
        let mut state = self.state();
        state.awaits_source = awaited;
        state.moved = Instant::now();
    }

    /// Keeps `error` and returns another for the HTTP client, which hides it in its own.
    fn broke(&self, error: io::Error) -> io::Error {
        let told = io::Error::from(error.kind());
        self.state().fault.get_or_insert(error);
        told
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
