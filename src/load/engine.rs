//! The engine: workers between a source and a sink.

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::try_join_all;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use tokio::task::JoinSet;

use super::Stop;
use super::cores::{beside, shares};
use crate::clock::SystemClock;
use crate::gate::Clock as _;
use crate::session::{Answer, FinalRefusal, Request, Seen, SendError, Session, Tries};
use crate::token::Generation;

/// As much of each body is read before the sink is asked whether there is room for it.
const READ_UNASKED: usize = 64 * 1024;

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct Job<T> {
    /// What to send.
    pub request: Arc<Request>,
    /// When it was to be sent. It counts from then, however late a worker comes to it: what a stall of the server holds up
    /// must not look quick. Without it, it counts from when it is sent.
    pub due: Option<Instant>,
    /// What tells the sink which one it was.
    pub tag: T,
}

/// Where requests come from. All workers ask the same one.
pub trait Source: Send + Sync + 'static {
    /// What tells requests apart.
    type Tag: Send + 'static;

    /// Returns the next request, when it is time for it, or `None` if there are no more.
    fn next(&self) -> impl Future<Output = Option<Job<Self::Tag>>> + Send;
}

/// Where results go. All workers hand theirs to the same one, in the order in which they end.
pub trait Sink<T>: Send + Sync + 'static {
    /// How many bytes of an answer's body are kept for it. With 0 every body is read to its end and dropped; otherwise a
    /// longer one is broken off.
    const KEEP: usize;

    /// Waits until there is room for so many bytes: the request's body, and at most so much of the answer's, of which it will
    /// be told in [`take`](Self::take). Short ones are read unasked.
    fn make_room(&self, tag: &mut T, bytes: usize) -> impl Future<Output = ()> + Send {
        let _ = (tag, bytes);
        std::future::ready(())
    }

    /// Takes what came of a request. A worker takes its next job only after that, so a slow sink slows the whole.
    fn take(&self, tag: T, ended: Ended) -> impl Future<Output = ()> + Send;
}

/// How one request ended.
#[derive(Debug)]
pub struct Ended {
    /// When it was to be sent.
    pub start: Instant,
    /// When the last byte of its answer had been read.
    pub end: Instant,
    /// What came of it.
    pub result: Result<Completed, SendError>,
}

impl Ended {
    /// Returns the time from when it was to be sent to the last byte of its answer, refreshes included.
    pub fn elapsed(&self) -> Duration {
        self.end.saturating_duration_since(self.start)
    }
}

/// An answer that was read.
#[derive(Clone, Debug)]
pub struct Completed {
    /// Its status.
    pub status: StatusCode,
    /// Whether the request was sent a second time.
    pub retried: bool,
    /// Which generation of tokens it was last sent with.
    pub generation: Generation,
    /// Why a refusal is final, if it is one.
    pub refusal: Option<FinalRefusal>,
    /// What its body is, as the server says.
    pub content_type: Option<HeaderValue>,
    /// As much of the body as the sink keeps.
    pub body: Kept,
}

/// What was kept of a body.
#[derive(Clone, Debug)]
pub enum Kept {
    /// The whole of it; nothing where the sink keeps nothing.
    Whole(Bytes),
    /// It is longer than that.
    TooLong,
}

/// How requests are sent.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// How many at a time, at most.
    pub concurrency: u64,
    /// How often a request is tried again where that may help and does no harm.
    pub retries: u32,
}

/// Sends what `source` gives and hands each result to `sink`, until there is no more or `stop` ends it. The session's
/// tokens are renewed in the background for as long as it is there. Dropping the future stops sending, a moment later on
/// other cores; a refresh that is under way goes on. Must be called within a tokio runtime; source and sink are called in
/// others, on threads of their own.
pub async fn run<S: Source, K: Sink<S::Tag>>(
    session: &Session,
    source: &Arc<S>,
    sink: &Arc<K>,
    manner: Manner,
    stop: &Stop,
) {
    session.gate().keep_ahead();
    // All of them begin at once; collected, because a lazy one would begin when it is waited for.
    let crews: Vec<_> = shares(manner.concurrency)
        .map(|workers| {
            let manner = Manner { concurrency: workers, ..manner };
            let session = session.for_another_runtime();
            beside(crew(session, Arc::clone(source), Arc::clone(sink), manner, stop.clone()))
        })
        .collect();
    // A panic in one of them must not look like fewer requests; it ends the others.
    if let Err(panic) = try_join_all(crews).await {
        resume_unwind(panic);
    }
}

/// Those who send on one core, over connections of their own.
async fn crew<S: Source, K: Sink<S::Tag>>(session: Session, source: Arc<S>, sink: Arc<K>, manner: Manner, stop: Stop) {
    let mut workers = JoinSet::new();
    for _ in 0..manner.concurrency {
        workers.spawn(work(session.clone(), Arc::clone(&source), Arc::clone(&sink), manner.retries, stop.clone()));
    }
    let dropped = stop.dropped();
    tokio::pin!(dropped);
    loop {
        let ended = tokio::select! {
            biased;
            () = &mut dropped => break,
            ended = workers.join_next() => ended,
        };
        let Some(ended) = ended else { return };
        if let Err(failed) = ended
            && failed.is_panic()
        {
            resume_unwind(failed.into_panic());
        }
    }
    workers.shutdown().await;
}

async fn work<S: Source, K: Sink<S::Tag>>(session: Session, source: Arc<S>, sink: Arc<K>, retries: u32, stop: Stop) {
    // One for all jobs: it is polled only when the source has none at once.
    let no_more_begun = stop.no_more_begun();
    tokio::pin!(no_more_begun);
    while !stop.begins_no_more() {
        let job = tokio::select! {
            biased;
            job = source.next() => job,
            // Also who waits for a job that may never come is told.
            () = &mut no_more_begun => return,
        };
        let Some(Job { request, due, mut tag }) = job else { return };
        let start = due.unwrap_or_else(Instant::now);
        let result = exchange(&session, request, retries, &*sink, &mut tag).await;
        sink.take(tag, Ended { start, end: Instant::now(), result }).await;
    }
}

/// Sends a request, and again as often as that helps, and reads the answer. Nobody is told of each try: they are in the
/// latency.
async fn exchange<T: Send, K: Sink<T>>(
    session: &Session,
    request: Arc<Request>,
    retries: u32,
    sink: &K,
    tag: &mut T,
) -> Result<Completed, SendError> {
    // Kept for another try, so it takes room beside the answer.
    let held = request.body.bytes().map_or(0, Bytes::len);
    let mut tries = Tries::new(request, retries);
    loop {
        let sent = session.send(tries.request()).await;
        if let Ok(answer) = &sent
            && let Some(retry) = tries.again(Seen::Head(&answer.response), SystemClock.now())
        {
            drop(sent);
            tries.pause(&retry).await;
            continue;
        }
        let answered = sent.is_ok();
        let read = match sent {
            Ok(answer) => read(answer, held, sink, tag).await,
            Err(error) => Err(error),
        };
        let Err(error) = read else { return read };
        let seen = if answered { Seen::Body(&error) } else { Seen::Failure(&error) };
        let Some(retry) = tries.again(seen, SystemClock.now()) else {
            return Err(tries.last_word(error));
        };
        if answered {
            // Nobody waits for a pause: what was taken for the answer's body is given back.
            sink.make_room(tag, held).await;
        }
        tries.pause(&retry).await;
    }
}

async fn read<T: Send, K: Sink<T>>(
    mut answer: Answer,
    held: usize,
    sink: &K,
    tag: &mut T,
) -> Result<Completed, SendError> {
    let content_type = answer.response.headers().get(CONTENT_TYPE).filter(|_| K::KEEP > 0).cloned();
    let body = read_body(&mut answer, held, sink, tag).await?;
    Ok(Completed {
        status: answer.response.status(),
        retried: answer.retried,
        generation: answer.generation,
        refusal: answer.refusal,
        content_type,
        body,
    })
}

/// Reads a body to its end also where nothing of it is kept: a connection can only be used again after that.
async fn read_body<T: Send, K: Sink<T>>(
    answer: &mut Answer,
    held: usize,
    sink: &K,
    tag: &mut T,
) -> Result<Kept, SendError> {
    let keep = K::KEEP;
    let told = answer.response.content_length().map(|length| usize::try_from(length).unwrap_or(usize::MAX).min(keep));
    let mut has_room = keep == 0 || told.is_some_and(|length| length <= READ_UNASKED);
    if let Some(length) = told
        && !has_room
    {
        sink.make_room(tag, held + length).await;
        has_room = true;
    }
    let mut first: Option<Bytes> = None;
    let mut whole = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if keep == 0 {
            continue;
        }
        match &first {
            // Nearly all come in one piece, which then need not be copied.
            None => first = Some(chunk),
            Some(first) => {
                if whole.is_empty() {
                    whole.extend_from_slice(first);
                }
                whole.extend_from_slice(&chunk);
            }
        }
        let length = whole.len().max(first.as_ref().map_or(0, Bytes::len));
        if length > keep {
            return Ok(Kept::TooLong);
        }
        if length > READ_UNASKED && !has_room {
            // Whoever has begun must be able to end, so it is the most that it may be.
            sink.make_room(tag, held + keep).await;
            has_room = true;
        }
    }
    Ok(Kept::Whole(if whole.is_empty() { first.unwrap_or_default() } else { whole.into() }))
}
