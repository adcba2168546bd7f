//! One redemption of a refresh token in as many tries as it may have.
//!
//! - All tries together stay within [`RENEWAL_BOUND`]: one that would be cut off in the middle is not begun.
//! - What cannot be repeated is sent again only where it is certain that nothing was done: no byte was sent, or the server
//!   said when to come again.
//! - What nobody knows the outcome of is told, also where a later try brought another fault.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use jiff::Timestamp;
use reqwest::StatusCode;
use tokio::time::Instant;
use tracing::debug;

use super::fault::RenewalFault;
use super::issued;
use crate::expiry::{self, Lifetime};
use crate::gate::{RENEWAL_BOUND, RenewalError, WayOut};
use crate::http::CONNECT_BOUND;
use crate::token::{IssuedTokens, Secret, TokenSet};

/// One try, from the connection to the last byte of the answer. A little longer than the connection alone may take: so a
/// server that cannot be reached is told from one that does not answer, which may have done what it was asked.
pub(super) const TRY_BOUND: Duration = CONNECT_BOUND.saturating_add(Duration::from_millis(250));
const TRIES: usize = 3;
/// A pause that the server asks for beyond this would not fit into the flight.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// What one try comes to.
pub(super) enum Verdict {
    Tokens(IssuedTokens),
    /// A clear refusal, in the server's words: the session is over.
    Refused(String),
    /// The session stands; another try may help, now or later.
    Again(RenewalFault, Option<Duration>),
    /// The session stands; another try now would not help.
    NotNow(RenewalFault, Option<Duration>),
    /// The session stands; no try will help until somebody mends this client or the server.
    Misconfigured(RenewalFault),
}

impl Verdict {
    /// What a call comes to that brought no answer.
    pub(super) fn of_fault(fault: RenewalFault) -> Self {
        match fault {
            RenewalFault::Shape(_) | RenewalFault::Client(_) => Self::Misconfigured(fault),
            _ => Self::Again(fault, None),
        }
    }
}

/// Whether the server may be sent a request again that it may have received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It recognises the attempt, or does no harm.
    Safe,
    /// It may take the second for a theft, or have replaced the token.
    Unsafe,
}

/// Returns whether an error with `code` is about the moment alone (RFC 6749 section 4.1.2.1, RFC 8628 section 3.5).
pub(super) fn is_passing(code: &str) -> bool {
    ["server_error", "temporarily_unavailable", "slow_down"].contains(&code)
}

/// Returns the refresh token of `tokens`, if it may be redeemed at `now`.
///
/// Some servers issue refresh tokens that are good only near the end of the access token, and end the session of whoever
/// redeems one before. Such a token says so; its time counts from its receipt, so no clock can be wrong about it.
pub(super) fn redeemable(tokens: &TokenSet, now: Timestamp) -> Result<&Secret, RenewalError> {
    let Some(refresh_token) = &tokens.refresh_token else {
        return Err(RenewalError::NothingToRedeem);
    };
    let wait = issued::not_before(refresh_token)
        .and_then(|since| expiry::remaining(tokens.refresh_received_at, Lifetime::of(since), now))
        .filter(|wait| !wait.is_zero());
    match wait {
        Some(wait) => Err(RenewalError::NotYet { wait }),
        None => Ok(refresh_token),
    }
}

/// Makes tries until one is decisive.
pub(super) async fn redeem<Try>(
    way_out: &WayOut,
    repeat: Repeat,
    mut attempt: impl FnMut() -> Try + Send,
) -> Result<IssuedTokens, RenewalError>
where
    Try: Future<Output = Verdict> + Send,
{
    let mut pauses = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_times(TRIES - 1)
        .with_jitter()
        .build();
    let mut unanswered = false;
    let start = Instant::now();
    loop {
        let (fault, asked) = match attempt().await {
            Verdict::Tokens(issued) => return Ok(issued),
            Verdict::Refused(reason) => return Err(RenewalError::SessionEnded { reason, unanswered }),
            Verdict::Misconfigured(fault) => {
                return Err(RenewalError::Misconfigured { cause: Arc::new(fault), unanswered });
            }
            Verdict::NotNow(fault, retry_after) => {
                return Err(RenewalError::Transient { cause: Arc::new(fault), retry_after, unanswered });
            }
            Verdict::Again(fault, retry_after) => (fault, retry_after),
        };
        unanswered |= fault.leaves_doubt();
        let pause = pauses.next().map(|pause| pause.max(asked.unwrap_or_default()));
        // A try that would be cut off in the middle is not begun.
        let fits = |pause: &Duration| start.elapsed() + *pause + TRY_BOUND <= RENEWAL_BOUND;
        let pause = pause.filter(|pause| *pause <= LONGEST_PAUSE && fits(pause));
        if let Some(pause) = pause.filter(|_| repeat == Repeat::Safe || did_nothing(&fault, asked)) {
            debug!(%fault, ?pause, "the refresh failed; trying again with the same attempt key");
            if !way_out.begins_within(pause).await {
                continue;
            }
        }
        return Err(RenewalError::Transient { cause: Arc::new(fault), retry_after: asked, unanswered });
    }
}

/// Returns whether it is certain that the server has not redeemed anything.
fn did_nothing(fault: &RenewalFault, asked: Option<Duration>) -> bool {
    match fault {
        RenewalFault::Unreachable { .. } => true,
        RenewalFault::Status { status, .. } => {
            asked.is_some() && matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::store::sample_tokens;

    fn status(status: u16) -> RenewalFault {
        RenewalFault::Status { url: "http://h/refresh".into(), status: StatusCode::from_u16(status).unwrap() }
    }

    fn tokens() -> Verdict {
        Verdict::Tokens(IssuedTokens {
            access_token: Secret::new("access"),
            refresh_token: None,
            access_lifetime: Lifetime::UNKNOWN,
            refresh_lifetime: Lifetime::UNKNOWN,
        })
    }

    /// Makes tries that come to `first` and then to tokens; returns how many were made and what came of them.
    async fn after(repeat: Repeat, first: Verdict) -> (usize, Result<IssuedTokens, RenewalError>) {
        let (_sender, way_out) = WayOut::new();
        let tries = AtomicUsize::new(0);
        let mut first = Some(first);
        let result = redeem(&way_out, repeat, || {
            tries.fetch_add(1, Ordering::Relaxed);
            std::future::ready(first.take().unwrap_or_else(tokens))
        });
        let result = result.await;
        (tries.load(Ordering::Relaxed), result)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_safe_to_repeat_is_repeated() {
        for code in [500, 502, 503, 504, 429] {
            let (tries, result) = after(Repeat::Safe, Verdict::Again(status(code), None)).await;
            assert!(tries == 2 && result.is_ok(), "{code}: {result:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_is_repeated_only_where_the_server_asks_for_it() {
        let second = Some(Duration::from_secs(1));
        for (code, asked, expected) in
            [(500, None, 1), (500, second, 1), (503, None, 1), (503, second, 2), (429, second, 2), (502, second, 1)]
        {
            let (tries, result) = after(Repeat::Unsafe, Verdict::Again(status(code), asked)).await;
            assert_eq!(tries, expected, "{code} {asked:?}");
            assert_eq!(result.is_ok(), expected == 2, "{code} {asked:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_answer_is_told_also_after_a_later_fault() {
        let garbled = RenewalFault::Nonsense {
            url: "http://h/refresh".into(),
            status: StatusCode::OK,
            what: "a body that is not JSON".into(),
        };
        let (_sender, way_out) = WayOut::new();
        let mut verdicts = vec![Verdict::Refused("no".into()), Verdict::Again(garbled, None)];
        let result = redeem(&way_out, Repeat::Safe, || std::future::ready(verdicts.pop().unwrap())).await;
        assert!(matches!(result, Err(RenewalError::SessionEnded { unanswered: true, .. })), "{result:?}");
    }

    #[test]
    fn a_refresh_token_that_is_not_good_yet_is_not_redeemed() {
        // {"alg":"HS256"} . {"iat":1000,"nbf":1240} . any signature
        let late = "eyJhbGciOiJIUzI1NiJ9.eyJpYXQiOjEwMDAsIm5iZiI6MTI0MH0.c2ln";
        // nbf = iat: good at once.
        let at_once = "eyJhbGciOiJIUzI1NiJ9.eyJpYXQiOjEwMDAsIm5iZiI6MTAwMH0.c2ln";
        let with = |token: &str| TokenSet { refresh_token: Some(Secret::new(token)), ..sample_tokens() };
        for (token, age, expected) in [
            (late, 0, Some(240)),
            (late, 239, Some(1)),
            (late, 240, None),
            // The clock was set back: nobody can tell.
            (late, -1, None),
            (at_once, 0, None),
            ("opaque", 0, None),
        ] {
            let tokens = with(token);
            let now = tokens.refresh_received_at + jiff::SignedDuration::from_secs(age);
            let wait = match redeemable(&tokens, now) {
                Ok(_) => None,
                Err(RenewalError::NotYet { wait }) => Some(wait.as_secs()),
                Err(error) => panic!("{error:?}"),
            };
            assert_eq!(wait, expected, "{token} after {age} s");
        }
        let none = TokenSet { refresh_token: None, ..sample_tokens() };
        assert!(matches!(redeemable(&none, none.received_at), Err(RenewalError::NothingToRedeem)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_beyond_the_flight_ends_it() {
        let (tries, result) = after(Repeat::Safe, Verdict::Again(status(503), Some(Duration::from_secs(9)))).await;
        assert_eq!(tries, 1);
        let Err(RenewalError::Transient { retry_after, .. }) = result else { panic!("{result:?}") };
        assert_eq!(retry_after, Some(Duration::from_secs(9)));
    }
}
