//! A logged-in session: attach a live token, send, judge the answer, and where it was refused for its token, send once
//! more.
//!
//! # What it guarantees
//!
//! - A token goes to the origin that it was issued for, and nowhere else.
//! - A request is sent at most twice, and never twice with the same token generation.
//! - The second refusal is final, and so is the first where a newer token would not help: the answer says which
//!   ([`Answer::refusal`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Client, Method, Response, StatusCode};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;
use url::Url;

use crate::error::TokenError;
use crate::gate::RefreshGate;
use crate::http::{ServerUrl, log_request, log_response, secrets_of};
use crate::token::{Generation, TokenSet};

/// How much of a refused answer is read beside the refresh. Nearly all are read whole in that, so their connections are
/// free for the second attempt: with all of them held, a large burst would need twice as many.
const READ_AHEAD: usize = 64 * 1024;
/// How long is read on once there are newer tokens.
const READ_AHEAD_GRACE: Duration = Duration::from_millis(50);

/// A session that requests can be sent in. Cloning is cheap; all clones share one gate.
#[derive(Clone)]
pub struct Session {
    gate: RefreshGate,
    client: Client,
    server: ServerUrl,
}

/// A request without its token.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where to; on the session's origin.
    pub url: Url,
    /// Headers beside `Authorization`, which is the session's.
    pub headers: HeaderMap,
    /// How long it may take in all, refreshes and the whole answer included.
    pub timeout: Option<Duration>,
}

/// A final answer, its body to be read by [`chunk`](Self::chunk).
#[derive(Debug)]
pub struct Answer {
    /// The answer's head.
    pub response: Response,
    /// Whether the request was sent a second time.
    pub retried: bool,
    /// Which generation of tokens it was last sent with.
    pub generation: Generation,
    /// Why a refusal was not followed by a(nother) refresh, if it is one.
    pub refusal: Option<FinalRefusal>,
    /// What has been read of the body.
    read_ahead: VecDeque<Result<Bytes, SendError>>,
    /// When the request's time is over, and how long that was in all; the body is part of it.
    deadline: Option<(Instant, Duration)>,
}

impl Answer {
    fn new(response: Response, tokens: &TokenSet) -> Self {
        Self {
            response,
            retried: false,
            generation: tokens.generation,
            refusal: None,
            read_ahead: VecDeque::new(),
            deadline: None,
        }
    }

    /// Returns the next piece of the body, or `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, SendError> {
        if let Some(read) = self.read_ahead.pop_front() {
            return read.map(Some);
        }
        let chunk = match self.deadline {
            Some((end, bound)) => timeout_at(end, self.response.chunk()).await.map_err(|_| SendError::TimedOut {
                origin: self.response.url().origin().ascii_serialization(),
                bound,
            })?,
            None => self.response.chunk().await,
        };
        chunk.map_err(|cause| network_error(self.response.url(), cause))
    }

    /// Reads as much of the body as a refusal usually has. May be dropped at any time: what was read is kept, and what was
    /// not is read by whoever wants the answer.
    async fn read_ahead(&mut self) {
        let mut length = 0;
        while length < READ_AHEAD {
            let chunk = match self.response.chunk().await {
                Ok(Some(chunk)) => Ok(chunk),
                Ok(None) => break,
                Err(cause) => Err(network_error(self.response.url(), cause)),
            };
            length += chunk.as_ref().map_or(READ_AHEAD, Bytes::len);
            self.read_ahead.push_back(chunk);
        }
    }
}

/// What is known of a final 401 or 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinalRefusal {
    /// The token had been refreshed just now: its age is not the reason.
    FreshToken,
    /// The server gave no refresh token, so there is no newer one to try.
    NotRenewable,
    /// The server says that the token lacks a scope (RFC 6750 section 3.1).
    InsufficientScope,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// No live token could be had.
    #[error(transparent)]
    Token(#[from] Arc<TokenError>),
    /// The address is not on the session's origin. Nothing was sent.
    #[error("{0} is not on the origin that the tokens are for")]
    WrongOrigin(String),
    /// No connection, or it broke.
    #[error("could not get an answer from {origin}")]
    Network {
        /// From whom.
        origin: String,
        /// Why not.
        #[source]
        cause: reqwest::Error,
    },
    /// Time ran out.
    #[error("no answer from {origin} within {} s", bound.as_secs_f64())]
    TimedOut {
        /// From whom.
        origin: String,
        /// The time.
        bound: Duration,
    },
}

impl Session {
    /// A session whose tokens come from `gate` and are for `server`. `client` must not follow redirects: it would carry
    /// the token along.
    pub fn new(gate: RefreshGate, client: Client, server: ServerUrl) -> Self {
        Self { gate, client, server }
    }

    /// Returns the gate, for its counts and for tokens without a request.
    pub fn gate(&self) -> &RefreshGate {
        &self.gate
    }

    /// Returns the server that the session is for.
    pub fn server(&self) -> &ServerUrl {
        &self.server
    }

    /// Sends `request` with a live token.
    pub async fn send(&self, request: &Request) -> Result<Answer, SendError> {
        if request.url.origin() != self.server.origin() {
            return Err(SendError::WrongOrigin(request.url.origin().ascii_serialization()));
        }
        // A time beyond the end of the clock is no bound.
        let bounded = request.timeout.and_then(|bound| Some((bound, Instant::now().checked_add(bound)?)));
        let Some((bound, end)) = bounded else {
            return self.send_untimed(request).await;
        };
        // Dropping the work does not drop a refresh that it waits for: that runs in a task of its own.
        let answer = timeout_at(end, self.send_untimed(request)).await;
        let answer =
            answer.unwrap_or_else(|_| Err(SendError::TimedOut { origin: self.server.origin_text(), bound }))?;
        Ok(Answer { deadline: Some((end, bound)), ..answer })
    }

    async fn send_untimed(&self, request: &Request) -> Result<Answer, SendError> {
        let tokens = match self.gate.current().await {
            // At its end by the local clock, which may be wrong; the server knows.
            Err(error) if matches!(*error, TokenError::NotRenewable { .. }) => self.gate.snapshot(),
            obtained => obtained?,
        };
        let mut answer = self.attempt(request, &tokens).await?;
        if !is_refusal(&answer.response) {
            return Ok(answer);
        }
        if lacks_scope(&answer.response) {
            answer.refusal = Some(FinalRefusal::InsufficientScope);
            return Ok(answer);
        }
        debug!(status = answer.response.status().as_u16(), generation = tokens.generation.number(), "refused");
        let newer = match self.refresh_beside(&mut answer, tokens.generation).await {
            Ok(newer) => newer,
            Err(error) => {
                answer.refusal = match *error {
                    TokenError::RefusalStands => Some(FinalRefusal::FreshToken),
                    TokenError::NotRenewable { at_its_end: false } => Some(FinalRefusal::NotRenewable),
                    _ => return Err(error.into()),
                };
                return Ok(answer);
            }
        };
        drop(answer);
        let mut answer = self.attempt(request, &newer).await?;
        answer.retried = true;
        answer.refusal = match &answer.response {
            response if !is_refusal(response) => None,
            response if lacks_scope(response) => Some(FinalRefusal::InsufficientScope),
            _ => Some(FinalRefusal::FreshToken),
        };
        Ok(answer)
    }

    /// Asks for tokens newer than those of generation `refused`, and reads the refused answer meanwhile: most are read
    /// whole by then.
    async fn refresh_beside(&self, answer: &mut Answer, refused: Generation) -> Result<Arc<TokenSet>, Arc<TokenError>> {
        let refresh = self.gate.refresh_after(refused);
        tokio::pin!(refresh);
        let read = answer.read_ahead();
        tokio::pin!(read);
        tokio::select! {
            newer = &mut refresh => {
                if newer.is_ok() {
                    // Who need not wait for a refresh does not wait for a body that never ends either.
                    let _ = timeout(READ_AHEAD_GRACE, read).await;
                }
                newer
            }
            () = &mut read => refresh.await,
        }
    }

    async fn attempt(&self, request: &Request, tokens: &TokenSet) -> Result<Answer, SendError> {
        debug!(generation = tokens.generation.number(), "sending a request");
        let mut head = reqwest::Request::new(request.method.clone(), request.url.clone());
        head.headers_mut().clone_from(&request.headers);
        head.headers_mut().insert(AUTHORIZATION, bearer(tokens)?);
        let secrets = secrets_of(tokens);
        log_request(&head, &secrets);
        let response = self.client.execute(head).await.map_err(|cause| network_error(&request.url, cause))?;
        log_response(&response, &secrets);
        Ok(Answer::new(response, tokens))
    }
}

/// The message names the origin; the rest of the URL may hold what a log should not.
fn network_error(url: &Url, cause: reqwest::Error) -> SendError {
    SendError::Network { origin: url.origin().ascii_serialization(), cause: cause.without_url() }
}

/// Returns the `Authorization` header (RFC 6750 section 2.1), marked so that no logger shows it.
fn bearer(tokens: &TokenSet) -> Result<HeaderValue, SendError> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", tokens.access_token.expose())).map_err(|_| {
        // Tokens are checked when they arrive; one that no header can carry came from a damaged store.
        SendError::Token(Arc::new(TokenError::Store(crate::error::StoreError::Damaged {
            place: "the token store".into(),
            what: "the access token cannot be sent in a header".into(),
        })))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_refusal(response: &Response) -> bool {
    matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// Returns whether the server says that a newer token would lack the same right (RFC 6750 section 3.1).
fn lacks_scope(response: &Response) -> bool {
    response
        .headers()
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|challenge| challenge.replace(['"', ' '], "").contains("error=insufficient_scope"))
}
