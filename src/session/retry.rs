//! Trying a request again that may do better a moment later.
//!
//! - A request that never reached the server is tried again whatever its method.
//! - One that may have reached it is tried again only where a repetition does no harm: its method is idempotent (RFC 9110
//!   section 9.2.2), or it has an `Idempotency-Key`. So no POST happens twice.
//! - Where an answer came and broke off in its body, only a safe method (section 9.2.1) or one with such a key is: a DELETE that
//!   was done would be told as a 404.
//! - A body that is a stream is sent once, so such a request is never tried again.
//! - Its timeout holds for all tries and pauses together.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use jiff::Timestamp;
use reqwest::{Response, StatusCode};
use tokio::time::sleep;

use super::deadline::Deadline;
use super::{Request, SendError};
use crate::error::TokenError;
use crate::http::{refuses_certificate, retry_after};

/// The first pause, roughly: pauses are jittered. Each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A server that asks to be left alone for longer than this is left alone: its answer is the last.
const LONGEST_ASKED: Duration = Duration::from_mins(5);
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A request is about to be tried again.
#[derive(Debug)]
pub struct Retry {
    /// What happened.
    pub trouble: Trouble,
    /// How long until then.
    pub pause: Duration,
}

/// What may be over in a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No connection came about, or no token could be had from the server.
    NotSent,
    /// The connection broke, or nothing came.
    NoAnswer,
    /// An answer of this status.
    Status(StatusCode),
    /// An answer that was not there to its end.
    BrokeOff,
}

/// What came of a try.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// The head of an answer.
    Head(&'a Response),
    /// No answer.
    Failure(&'a SendError),
    /// An answer whose body did not come to its end. What was asked for has been done, so only what does nothing is asked
    /// for again.
    Body(&'a SendError),
}

/// The tries of one request, by a caller who sends it: [`request`](Self::request), then whatever came of it to
/// [`again`](Self::again); where that says so, after its [`pause`](Self::pause), once more.
#[derive(Debug)]
pub struct Tries {
    request: Arc<Request>,
    deadline: Option<Deadline>,
    /// How many more there may be.
    left: u32,
    pauses: Option<ExponentialBackoff>,
}

impl Tries {
    /// Up to `times` more tries than one, whose time begins now.
    pub fn new(request: Arc<Request>, times: u32) -> Self {
        let deadline = Deadline::of(&request);
        Self { request, deadline, left: times, pauses: None }
    }

    /// Returns what to send: the request, with what is left of its time.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Returns whether and when to try again, after a try of which this was `seen`. `now` is the time of day, for a
    /// `Retry-After` that is a date.
    pub fn again(&mut self, seen: Seen<'_>, now: Timestamp) -> Option<Retry> {
        if self.left == 0 || !self.request.body.is_repeatable() {
            return None;
        }
        let (trouble, asked) = trouble(&self.request, seen, now)?;
        // A server that asks for no pause at all does not get one try upon the other.
        let pause = asked.unwrap_or_default().max(self.pauses.get_or_insert_with(pauses).next()?);
        let fits = pause <= LONGEST_ASKED && self.deadline.is_none_or(|deadline| pause < deadline.left());
        if !fits {
            return None;
        }
        self.left -= 1;
        Some(Retry { trouble, pause })
    }

    /// Waits until it is time for the next try.
    pub async fn pause(&mut self, retry: &Retry) {
        sleep(retry.pause).await;
        if let Some(deadline) = self.deadline {
            Arc::make_mut(&mut self.request).timeout = Some(deadline.left());
        }
    }

    /// Returns `error` of the last try as one of all: that had only what was left of the time.
    pub fn last_word(&self, error: SendError) -> SendError {
        Deadline::of_the_whole(self.deadline, error)
    }
}

fn pauses() -> ExponentialBackoff {
    let pauses = ExponentialBuilder::new().with_min_delay(FIRST_PAUSE).with_max_delay(LONGEST_PAUSE).with_jitter();
    // The tries are what is counted.
    pauses.without_max_times().build()
}

/// Returns what went wrong that a repetition of `request` may mend without harm, and the pause that the server asked for.
fn trouble(request: &Request, seen: Seen<'_>, now: Timestamp) -> Option<(Trouble, Option<Duration>)> {
    let has_key = request.headers.contains_key(IDEMPOTENCY_KEY);
    let harmless = request.method.is_idempotent() || has_key;
    match seen {
        Seen::Head(response) => {
            let transient = harmless && is_transient(response);
            transient.then(|| (Trouble::Status(response.status()), retry_after(response, now)))
        }
        Seen::Failure(SendError::Network { cause, .. }) if refuses_certificate(cause) || cause.is_request() => None,
        Seen::Failure(SendError::Network { cause, .. }) if cause.is_connect() => Some((Trouble::NotSent, None)),
        Seen::Failure(SendError::Network { .. } | SendError::Silent { .. }) => {
            harmless.then_some((Trouble::NoAnswer, None))
        }
        Seen::Failure(SendError::Token(error)) => match &**error {
            TokenError::Unavailable { retry_after, .. } => Some((Trouble::NotSent, *retry_after)),
            _ => None,
        },
        Seen::Body(SendError::BrokeOff { .. } | SendError::Silent { .. }) => {
            (request.method.is_safe() || has_key).then_some((Trouble::BrokeOff, None))
        }
        Seen::Failure(_) | Seen::Body(_) => None,
    }
}

fn is_transient(response: &Response) -> bool {
    matches!(response.status().as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}
