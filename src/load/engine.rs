//! The engine: workers between a source and a sink.

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use tokio::task::JoinSet;

use crate::clock::SystemClock;
use crate::gate::Clock as _;
use crate::session::{Answer, FinalRefusal, Request, SendError, Session, with_retries};
use crate::token::Generation;

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

/// Sends what `source` gives and hands each result to `sink`. The session's tokens are renewed
/// in the background for as long as it is there. Dropping the future stops sending; a refresh that is under way goes on.
pub async fn run<S: Source, K: Sink<S::Tag>>(session: &Session, source: &Arc<S>, sink: &Arc<K>, manner: Manner) {
    session.gate().keep_ahead();
    let mut workers = JoinSet::new();
    for _ in 0..manner.concurrency.max(1) {
        workers.spawn(work(session.clone(), Arc::clone(source), Arc::clone(sink), manner.retries));
    }
    // A panic in one of them must not look like fewer requests.
    while let Some(ended) = workers.join_next().await {
        if let Err(failed) = ended
            && failed.is_panic()
        {
            resume_unwind(failed.into_panic());
        }
    }
}

async fn work<S: Source, K: Sink<S::Tag>>(session: Session, source: Arc<S>, sink: Arc<K>, retries: u32) {
    while let Some(Job { request, due, tag }) = source.next().await {
        let start = due.unwrap_or_else(Instant::now);
        let result = match send(&session, &request, retries).await {
            Ok(answer) => read(answer, K::KEEP).await,
            Err(error) => Err(error),
        };
        sink.take(tag, Ended { start, end: Instant::now(), result }).await;
    }
}

async fn send(session: &Session, request: &Arc<Request>, retries: u32) -> Result<Answer, SendError> {
    if retries == 0 {
        return session.send(request).await;
    }
    // With copies of its own: what a task runs cannot lend anything to such a call.
    let session = session.clone();
    let once = move |request: &Request| {
        let (session, request) = (session.clone(), request.clone());
        async move { session.send(&request).await }.boxed()
    };
    // Nobody is told of each try: they are in the latency.
    with_retries(request, retries, || SystemClock.now(), once, |_| {}).await
}

async fn read(mut answer: Answer, keep: usize) -> Result<Completed, SendError> {
    let content_type = answer.response.headers().get(CONTENT_TYPE).filter(|_| keep > 0).cloned();
    let body = read_body(&mut answer, keep).await?;
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
async fn read_body(answer: &mut Answer, keep: usize) -> Result<Kept, SendError> {
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
        if whole.len().max(first.as_ref().map_or(0, Bytes::len)) > keep {
            return Ok(Kept::TooLong);
        }
    }
    Ok(Kept::Whole(if whole.is_empty() { first.unwrap_or_default() } else { whole.into() }))
}
