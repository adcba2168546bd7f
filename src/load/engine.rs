//! Sends many requests through one session, a fixed number at a time.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::session::{Answer, FinalRefusal, Request, SendError, Session};

/// What to send.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The request; every one is a copy.
    pub request: Request,
    /// How many in all.
    pub requests: u64,
    /// How many at a time, at most.
    pub concurrency: u64,
}

/// How one request ended.
#[derive(Debug)]
pub struct Finished {
    /// From its start to the last byte of its answer, refreshes included.
    pub elapsed: Duration,
    /// What came of it.
    pub result: Result<Completed, SendError>,
}

/// An answer that was read to its end.
#[derive(Clone, Copy, Debug)]
pub struct Completed {
    /// Its status.
    pub status: StatusCode,
    /// Whether the request was sent a second time.
    pub retried: bool,
    /// Why a refusal is final, if it is one.
    pub refusal: Option<FinalRefusal>,
}

/// Sends what `plan` says and hands each result to `observe`, in the order in which they end. The
/// session's tokens are renewed in the background for as long as it is there. Dropping the future stops sending; a refresh
/// that is under way goes on.
pub async fn run(session: &Session, plan: &Plan, mut observe: impl FnMut(Finished)) {
    session.gate().keep_ahead();
    let request = Arc::new(plan.request.clone());
    let next = Arc::new(AtomicU64::new(0));
    let concurrency = plan.concurrency.clamp(1, plan.requests.max(1));
    // Bounded, so that a slow observer slows the senders instead of filling memory.
    let (results, mut finished) = mpsc::channel(1024);
    let mut senders = JoinSet::new();
    for _ in 0..concurrency {
        let (session, request) = (session.clone(), Arc::clone(&request));
        let (next, results, total) = (Arc::clone(&next), results.clone(), plan.requests);
        senders.spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < total {
                if results.send(send_one(&session, &request).await).await.is_err() {
                    break;
                }
            }
        });
    }
    drop(results);
    while let Some(result) = finished.recv().await {
        observe(result);
    }
    // All have ended: a panic in one of them must not look like fewer requests.
    while let Some(ended) = senders.join_next().await {
        if let Err(failed) = ended
            && failed.is_panic()
        {
            resume_unwind(failed.into_panic());
        }
    }
}

async fn send_one(session: &Session, request: &Request) -> Finished {
    let start = Instant::now();
    let result = match session.send(request).await {
        Ok(answer) => read_to_end(answer).await,
        Err(error) => Err(error),
    };
    Finished { elapsed: start.elapsed(), result }
}

/// Reads the body without keeping it: a connection can only be used again once its answer has been read.
async fn read_to_end(mut answer: Answer) -> Result<Completed, SendError> {
    while answer.chunk().await?.is_some() {}
    Ok(Completed { status: answer.response.status(), retried: answer.retried, refusal: answer.refusal })
}
