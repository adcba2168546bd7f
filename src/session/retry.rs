//! Trying a request again that may do better a moment later.
//!
//! - A request that never reached the server is tried again whatever its method.
//! - One that may have reached it is tried again only where a repetition does no harm: its method is idempotent (RFC 9110
//!   section 9.2.2), or it has an `Idempotency-Key`. So no POST happens twice.
//! - A body that is a stream is sent once, so such a request is never tried again.
//! - Its timeout holds for all tries and pauses together.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use jiff::Timestamp;
use reqwest::{Response, StatusCode};
use tokio::time::{Instant, sleep};

use super::{Answer, Request, SendError};
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
}

/// Sends `request` by `send`, and again up to `times` times. `now` is the time of day, for a `Retry-After` that is a date.
pub async fn with_retries(
    request: &Request,
    times: u32,
    now: impl Fn() -> Timestamp,
    send: impl AsyncFn(&Request) -> Result<Answer, SendError>,
    mut tell: impl FnMut(&Retry),
) -> Result<Answer, SendError> {
    let whole = request.timeout;
    let end = whole.and_then(|bound| Instant::now().checked_add(bound));
    let mut pauses = ExponentialBuilder::new()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_max_times(usize::try_from(times).unwrap_or(usize::MAX))
        .with_jitter()
        .build();
    let mut request = request.clone();
    loop {
        let result = send(&request).await;
        let again = trouble(&request, &result, now()).and_then(|(trouble, asked)| {
            let pause = pauses.next()?;
            // A server that asks for no pause at all does not get one try upon the other.
            let pause = asked.unwrap_or_default().max(pause);
            // The bound comes first: a header can ask for more than any clock holds.
            let fits = pause <= LONGEST_ASKED && end.is_none_or(|end| Instant::now() + pause < end);
            fits.then_some(Retry { trouble, pause })
        });
        let Some(retry) = again else {
            return result.map_err(|error| match (error, whole) {
                // The last try had what was left of it.
                (SendError::TimedOut { origin, .. }, Some(bound)) => SendError::TimedOut { origin, bound },
                (error, _) => error,
            });
        };
        drop(result);
        tell(&retry);
        sleep(retry.pause).await;
        request.timeout = end.map(|end| end.saturating_duration_since(Instant::now())).or(whole);
    }
}

/// Returns what is wrong with `result` that a repetition of `request` may mend without harm, and the pause that the server
/// asked for.
fn trouble(
    request: &Request,
    result: &Result<Answer, SendError>,
    now: Timestamp,
) -> Option<(Trouble, Option<Duration>)> {
    if !request.body.is_repeatable() {
        return None;
    }
    let harmless = request.method.is_idempotent() || request.headers.contains_key(IDEMPOTENCY_KEY);
    match result {
        Ok(answer) => {
            let transient = harmless && is_transient(&answer.response);
            transient.then(|| (Trouble::Status(answer.response.status()), retry_after(&answer.response, now)))
        }
        Err(SendError::Network { cause, .. }) if refuses_certificate(cause) || cause.is_builder() => None,
        Err(SendError::Network { cause, .. }) if cause.is_connect() => Some((Trouble::NotSent, None)),
        Err(SendError::Network { .. } | SendError::Silent { .. }) => harmless.then_some((Trouble::NoAnswer, None)),
        Err(SendError::Token(error)) => match &**error {
            TokenError::Unavailable { retry_after, .. } => Some((Trouble::NotSent, *retry_after)),
            _ => None,
        },
        Err(_) => None,
    }
}

fn is_transient(response: &Response) -> bool {
    matches!(response.status().as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}
