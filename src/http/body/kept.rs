//! Bodies that are sent while they arrive, and kept meanwhile, so that they can be sent again.
//!
//! Whoever passes on what somebody else sends cannot wait for the end: that may depend on the answer. So the first sending
//! reads from the source and keeps a copy; the next begins with the copy and goes on with the source, where the one before
//! has stopped. Nothing is kept of a body that turns out longer than [`KEPT_IN_MEMORY`], or while all bodies together
//! take up what they may.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream, StreamExt as _};

use super::{Body, KEPT_IN_MEMORY, Kind, Outgoing, Source};

/// A block of a copy has room for as much as there is already, but for no more than this, or than it begins with.
const LONGEST_BLOCK: usize = 64 * 1024;

/// Makes such bodies, and bounds what all of them keep together.
#[derive(Clone, Debug)]
pub struct KeptBodies {
    /// In bytes.
    left: Arc<AtomicUsize>,
}

impl KeptBodies {
    /// Together they keep so many bytes at most.
    pub fn within(bytes: usize) -> Self {
        Self { left: Arc::new(AtomicUsize::new(bytes)) }
    }

    /// A body of what `source` gives, and of `length` bytes, if that is known.
    pub fn body(&self, source: impl Stream<Item = io::Result<Bytes>> + Send + 'static, length: Option<u64>) -> Body {
        let worth_keeping = length.is_none_or(|length| length <= KEPT_IN_MEMORY as u64);
        let copy = worth_keeping.then(|| Copy::within(&self.left));
        let state = State { source: source.boxed(), copy, sending: 0, waiting: None };
        Body { kind: Kind::Kept { body: Arc::new(Kept { state: Arc::new(Mutex::new(state)) }), length } }
    }
}

/// The body. When nobody has it any more nobody can send it again: what is being sent goes on without a copy.
pub(super) struct Kept {
    state: Arc<Mutex<State>>,
}

struct State {
    source: Source,
    /// What the source gave so far; none if it was too much.
    copy: Option<Copy>,
    /// Which sending reads from the source.
    sending: u32,
    /// Wakes that sending.
    waiting: Option<Waker>,
}

/// In blocks that are never copied again: neither while it grows nor to be sent.
struct Copy {
    full: Vec<Bytes>,
    last: BytesMut,
    /// How many bytes they hold.
    length: usize,
    /// How many bytes they have room for.
    taken: usize,
    left: Arc<AtomicUsize>,
}

impl Kept {
    pub(super) fn is_repeatable(&self) -> bool {
        lock(&self.state).copy.is_some()
    }

    /// Begins the next sending, which ends the one before; `None` if the beginning is gone.
    pub(super) fn open(&self, length: Option<u64>) -> Option<Outgoing> {
        let mut state = lock(&self.state);
        let state = &mut *state;
        let mut begun = match (&mut state.copy, state.sending) {
            (_, 0) => Vec::new(),
            (Some(copy), _) => copy.blocks(),
            (None, _) => return None,
        }
        .into_iter();
        state.sending += 1;
        if let Some(superseded) = state.waiting.take() {
            superseded.wake();
        }
        let (sending, source) = (state.sending, Arc::clone(&self.state));
        let pieces = stream::poll_fn(move |context| match begun.next() {
            Some(block) => Poll::Ready(Some(Ok(block))),
            None => lock(&source).poll_next(sending, context),
        });
        Some(Outgoing::stream(pieces.boxed(), length))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        lock(&self.state).copy = None;
    }
}

impl State {
    fn poll_next(&mut self, sending: u32, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if sending != self.sending {
            return Poll::Ready(Some(Err(io::Error::other("the body is being sent again"))));
        }
        let next = self.source.poll_next_unpin(context);
        match &next {
            Poll::Pending => self.waiting = Some(context.waker().clone()),
            Poll::Ready(Some(Ok(piece))) => self.copy = self.copy.take().and_then(|copy| copy.with(piece)),
            // What broke off has no rest that could be sent after the copy.
            Poll::Ready(Some(Err(_))) => self.copy = None,
            Poll::Ready(None) => {}
        }
        next
    }
}

impl Copy {
    fn within(left: &Arc<AtomicUsize>) -> Self {
        Self { full: Vec::new(), last: BytesMut::new(), length: 0, taken: 0, left: Arc::clone(left) }
    }

    fn with(mut self, piece: &[u8]) -> Option<Self> {
        if self.length + piece.len() > KEPT_IN_MEMORY {
            return None;
        }
        let room = self.last.capacity() - self.last.len();
        let (first, rest) = piece.split_at(piece.len().min(room));
        self.last.extend_from_slice(first);
        if !rest.is_empty() {
            // Many small pieces must not take many small blocks, nor a short body a long one.
            let block = rest.len().max(self.length.min(LONGEST_BLOCK));
            let take = |left: usize| left.checked_sub(block);
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
            self.taken += block;
            self.full.push(mem::replace(&mut self.last, BytesMut::with_capacity(block)).freeze());
            self.last.extend_from_slice(rest);
        }
        self.length += piece.len();
        Some(self)
    }

    /// Returns what is there so far.
    fn blocks(&mut self) -> Vec<Bytes> {
        // What is left of the block's room is filled later.
        if !self.last.is_empty() {
            self.full.push(self.last.split().freeze());
        }
        self.full.clone()
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.left.fetch_add(self.taken, Ordering::Relaxed);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    type Pieces = mpsc::UnboundedSender<io::Result<Bytes>>;

    fn body_of(kept: &KeptBodies) -> (Pieces, Body) {
        let (pieces, mut source) = mpsc::unbounded_channel();
        (pieces, kept.body(stream::poll_fn(move |context| source.poll_recv(context)), None))
    }

    fn give(pieces: &Pieces, length: usize) {
        pieces.send(Ok(vec![b'x'; length].into())).unwrap();
    }

    async fn open(body: &Body) -> reqwest::Body {
        body.open().await.unwrap().expect("it can be sent").body.expect("there is a body")
    }

    async fn next(sending: &mut reqwest::Body) -> Option<Result<usize, reqwest::Error>> {
        use http_body_util::BodyExt as _;
        let frame = sending.frame().await?;
        Some(frame.map(|frame| frame.into_data().map_or(0, |data| data.len())))
    }

    async fn rest(sending: &mut reqwest::Body) -> usize {
        let mut length = 0;
        while let Some(piece) = next(sending).await {
            length += piece.unwrap();
        }
        length
    }

    #[tokio::test]
    async fn it_is_sent_while_it_arrives_and_again_from_its_beginning() {
        let (pieces, body) = body_of(&KeptBodies::within(100));
        give(&pieces, 3);
        let mut first = open(&body).await;
        assert_eq!(next(&mut first).await.unwrap().unwrap(), 3);
        let mut second = open(&body).await;
        assert_eq!(next(&mut second).await.unwrap().unwrap(), 3);
        give(&pieces, 4);
        assert!(next(&mut first).await.unwrap().is_err(), "only one of them reads on");
        assert_eq!(next(&mut second).await.unwrap().unwrap(), 4);
        drop(pieces);
        assert_eq!(rest(&mut second).await, 0);
        assert_eq!(rest(&mut open(&body).await).await, 7);
    }

    #[tokio::test]
    async fn a_sending_that_waits_is_woken_when_the_next_begins() {
        let (_pieces, body) = body_of(&KeptBodies::within(100));
        let mut first = open(&body).await;
        let waiting = tokio::spawn(async move { next(&mut first).await.unwrap().is_err() });
        while lock(&state_of(&body)).waiting.is_none() {
            tokio::task::yield_now().await;
        }
        drop(open(&body).await);
        assert!(waiting.await.unwrap());
    }

    fn state_of(body: &Body) -> Arc<Mutex<State>> {
        let Kind::Kept { body, .. } = &body.kind else { panic!("it is kept") };
        Arc::clone(&body.state)
    }

    #[tokio::test]
    async fn beyond_either_bound_it_is_sent_once() {
        let all = KEPT_IN_MEMORY * 3 / 2;
        for (within, lengths, repeatable) in [
            (all, [KEPT_IN_MEMORY - 1, 1], true),
            (all, [KEPT_IN_MEMORY, 1], false),
            (10, [5, 4], true),
            (9, [5, 5], false),
        ] {
            let kept = KeptBodies::within(within);
            let (pieces, body) = body_of(&kept);
            for length in lengths {
                give(&pieces, length);
            }
            drop(pieces);
            assert_eq!(rest(&mut open(&body).await).await, lengths.iter().sum::<usize>());
            assert_eq!(body.is_repeatable(), repeatable, "{lengths:?} within {within}");
            assert_eq!(body.open().await.unwrap().is_some(), repeatable);
            drop(body);
            assert_eq!(kept.left.load(Ordering::Relaxed), within, "nothing is kept any more");
        }
        let long = KeptBodies::within(all).body(stream::empty(), Some(KEPT_IN_MEMORY as u64 + 1));
        assert!(!long.is_repeatable());
    }

    #[tokio::test]
    async fn small_pieces_are_kept_in_few_blocks_that_are_sent_as_they_are() {
        let kept = KeptBodies::within(KEPT_IN_MEMORY);
        let (pieces, body) = body_of(&kept);
        for _ in 0..LONGEST_BLOCK * 4 {
            give(&pieces, 1);
        }
        drop(pieces);
        assert_eq!(rest(&mut open(&body).await).await, LONGEST_BLOCK * 4);
        let state = state_of(&body);
        let blocks = lock(&state).copy.as_mut().unwrap().blocks();
        assert!(blocks.len() < 32, "{} blocks", blocks.len());
        let taken = KEPT_IN_MEMORY - kept.left.load(Ordering::Relaxed);
        assert!(taken <= LONGEST_BLOCK * 5, "{taken} bytes");
        let again = lock(&state).copy.as_mut().unwrap().blocks();
        assert!(blocks.iter().zip(&again).all(|(one, other)| one.as_ptr() == other.as_ptr()), "nothing is copied");
        assert_eq!(rest(&mut open(&body).await).await, LONGEST_BLOCK * 4);
    }

    #[tokio::test]
    async fn when_nobody_can_want_it_again_nothing_is_kept() {
        let kept = KeptBodies::within(100);
        let (pieces, body) = body_of(&kept);
        give(&pieces, 60);
        let mut sending = open(&body).await;
        assert_eq!(next(&mut sending).await.unwrap().unwrap(), 60);
        assert_eq!(kept.left.load(Ordering::Relaxed), 40);
        drop(body);
        assert_eq!(kept.left.load(Ordering::Relaxed), 100);
        give(&pieces, 60);
        assert_eq!(next(&mut sending).await.unwrap().unwrap(), 60);
        assert_eq!(kept.left.load(Ordering::Relaxed), 100);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_not_sent_again() {
        let (pieces, body) = body_of(&KeptBodies::within(100));
        pieces.send(Err(io::ErrorKind::ConnectionReset.into())).unwrap();
        assert!(next(&mut open(&body).await).await.unwrap().is_err());
        assert!(!body.is_repeatable());
    }
}
