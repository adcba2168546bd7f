//! A logged-in session: attach a live token, send, judge the answer, and where it was refused for its token, send once
//! more.
//!
//! # What it guarantees
//!
//! - A token goes to the origin that it was issued for, and nowhere else.
//! - A request is sent at most twice, and never twice with the same token generation.
//! - The second refusal is final, and so is the first where a newer token would not help: the answer says which
//!   ([`Answer::refusal`]).
//! - A body that can be had only once is sent once: the token is made fresh first, and a refusal is final.

mod answer;
mod content;
mod deadline;
mod error;
mod exchange;
mod follow;
mod retry;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, Response};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::{Level, debug, enabled};
use url::Url;

pub use self::answer::Answer;
pub use self::content::{Content, accept_codings};
use self::deadline::Deadline;
pub use self::error::{FinalRefusal, SendError};
pub use self::follow::NotFollowed;
pub use self::retry::{Retry, Seen, Tries, Trouble};
use crate::attachment::Attachment;
use crate::claims::Claims;
use crate::error::TokenError;
use crate::gate::RefreshGate;
use crate::http::{Body, Challenge, LazyClient, ServerUrl, secrets_of};
use crate::token::{Generation, TokenSet};

/// The longest URL of a request, in bytes: that is all that the HTTP client takes.
pub const LONGEST_URL: usize = 65_534;
/// How long a request waits while not a byte comes or goes, unless it has a time of its own.
const SILENCE_BOUND: Duration = Duration::from_mins(1);
/// How long is read on in a refused answer once there are newer tokens.
const READ_AHEAD_GRACE: Duration = Duration::from_millis(50);
/// How long a token must be good for when the body can be sent only once: gateways judge it when they have the whole of
/// a body, not when its head arrives. No more than half of a token's life, or short-lived ones would be renewed each time.
const ONCE_MARGIN: Duration = Duration::from_mins(1);

/// A session that requests can be sent in. Cloning is cheap; all clones share one gate.
#[derive(Clone)]
pub struct Session {
    gate: RefreshGate,
    client: LazyClient,
    server: ServerUrl,
    /// How tokens are sent; shared by all clones.
    attachment: Arc<Attachment>,
    /// The header's value as it was sent last; shared by all clones. Nearly all requests are sent with the token of the one
    /// before.
    last_sent: Arc<ArcSwapOption<HeaderValue>>,
    /// Whether a server may be silent for as long as it likes.
    patient: bool,
}

/// A request without its token.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where to; on the session's origin.
    pub url: Url,
    /// Headers beside the one that carries the token and those that tell the body's length, which are the session's.
    pub headers: HeaderMap,
    /// What it carries.
    pub body: Body,
    /// How long it may take in all, refreshes and the whole answer included. Without it, it may take for ever, but not
    /// stand still for a minute.
    pub timeout: Option<Duration>,
}

impl Request {
    /// A request without headers, body and timeout.
    pub fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Body::none(), timeout: None }
    }
}

impl Session {
    /// A session whose tokens come from `gate` and are for `server`, which takes them as `attachment` says. `client` is
    /// made when the first request is sent.
    pub fn new(gate: RefreshGate, client: LazyClient, server: ServerUrl, attachment: Attachment) -> Self {
        Self { gate, client, server, attachment: Arc::new(attachment), last_sent: Arc::default(), patient: false }
    }

    /// The same session for who has a patience of their own: a silent server is waited for until the request is dropped,
    /// or for its [`timeout`](Request::timeout).
    #[must_use]
    pub fn patient(self) -> Self {
        Self { patient: true, ..self }
    }

    /// The same session for a runtime of its own, which ends before the one in which this is called: with connections of its
    /// own, which end with their runtime, and the same gate, whose refreshes stay here.
    pub(crate) fn for_another_runtime(&self) -> Self {
        let gate = self.gate.flying_in(Handle::current());
        Self { gate, client: self.client.anew(), ..self.clone() }
    }

    /// Returns the gate, for its counts and for tokens without a request.
    pub fn gate(&self) -> &RefreshGate {
        &self.gate
    }

    /// Returns the server that the session is for.
    pub fn server(&self) -> &ServerUrl {
        &self.server
    }

    /// Returns how tokens are attached to requests.
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// Sends `request` with a live token.
    pub async fn send(&self, request: &Request) -> Result<Answer, SendError> {
        if !self.server.is_origin_of(&request.url) {
            return Err(SendError::WrongOrigin(request.url.origin().ascii_serialization()));
        }
        if request.url.as_str().len() > LONGEST_URL {
            return Err(SendError::UrlTooLong);
        }
        let Some(deadline) = Deadline::of(request) else {
            return self.send_untimed(request).await;
        };
        // Dropping the work does not drop a refresh that it waits for: that runs in a task of its own.
        let answer = deadline.bound(self.send_untimed(request)).await;
        let mut answer = answer.unwrap_or_else(|_| Err(deadline.missed_by(self.server.origin_text())))?;
        answer.deadline = Some(deadline);
        Ok(answer)
    }

    async fn send_untimed(&self, request: &Request) -> Result<Answer, SendError> {
        let tokens = self.tokens_for(&request.body).await?;
        let mut answer = self.attempt(request, &tokens).await?;
        if !self.is_refusal(&answer.response) {
            return Ok(answer);
        }
        tell_refusal(&answer, &tokens);
        if answer.lacks_scope() {
            answer.refusal = Some(FinalRefusal::InsufficientScope);
            return Ok(answer);
        }
        let newer = match self.refresh_beside(&mut answer, tokens.generation).await {
            Ok(newer) => newer,
            Err(error) => {
                answer.refusal = match *error {
                    TokenError::RefusalStands => Some(FinalRefusal::FreshToken),
                    TokenError::NotRenewable { at_its_end: false } => Some(FinalRefusal::NotRenewable),
                    TokenError::NotYetRenewable { .. } => Some(FinalRefusal::NotYetRenewable),
                    _ => return Err(error.into()),
                };
                return Ok(answer);
            }
        };
        if !request.body.is_repeatable() {
            debug!("the body was a stream and cannot be sent again");
            answer.refusal = Some(FinalRefusal::BodySpent);
            return Ok(answer);
        }
        drop(answer);
        let mut answer = self.attempt(request, &newer).await?;
        answer.retried = true;
        answer.refusal = match &answer.response {
            response if !self.is_refusal(response) => None,
            _ if answer.lacks_scope() => Some(FinalRefusal::InsufficientScope),
            _ => Some(FinalRefusal::FreshToken),
        };
        if answer.refusal.is_some() {
            tell_refusal(&answer, &newer);
        }
        Ok(answer)
    }

    /// Returns the tokens to send `body` with.
    async fn tokens_for(&self, body: &Body) -> Result<Arc<TokenSet>, Arc<TokenError>> {
        if !body.is_repeatable() {
            let half = self.gate.snapshot().access_lifetime.duration().unwrap_or_default() / 2;
            // Where that cannot be had, what there is may do.
            if let Ok(tokens) = self.gate.valid_for(ONCE_MARGIN.min(half)).await {
                return Ok(tokens);
            }
        }
        match self.gate.current().await {
            // At its end by the local clock, which may be wrong; the server knows.
            Err(error) if matches!(*error, TokenError::NotRenewable { .. } | TokenError::NotYetRenewable { .. }) => {
                Ok(self.gate.snapshot())
            }
            obtained => obtained,
        }
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
        let response = self.exchange(&self.client, request, tokens, true).await?;
        let refused = self.is_refusal(&response);
        let challenge = refused.then(|| Challenge::of(response.headers(), &secrets_of(tokens))).flatten();
        let mut answer = Answer::new(response, tokens);
        answer.challenge = challenge;
        Ok(answer)
    }

    fn is_refusal(&self, response: &Response) -> bool {
        self.attachment.is_refused_by(response.status())
    }
}

/// Says, for the log, all that tells one reason for a refusal from another.
fn tell_refusal(answer: &Answer, tokens: &TokenSet) {
    if !enabled!(Level::DEBUG) {
        return;
    }
    debug!(status = answer.response.status().as_u16(), generation = tokens.generation.number(), "refused");
    if let Some(challenge) = &answer.challenge {
        debug!("the server says: {challenge}");
    }
    if let Some(end) = tokens.access_token_expires_at() {
        debug!("by its lifetime the access token is good until {end}");
    }
    if let Some(claims) = Claims::unverified(&tokens.access_token) {
        debug!("the token says of itself (not verified): {}", claims.in_short());
    }
}
