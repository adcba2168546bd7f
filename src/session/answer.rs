//! A final answer, and its body piece by piece.

use std::collections::VecDeque;

use bytes::Bytes;
use reqwest::Response;
use tokio::time::timeout;

use super::deadline::Deadline;
use super::error::{SendError, broke_off};
use super::{FinalRefusal, NotFollowed, SILENCE_BOUND};
use crate::http::Challenge;
use crate::token::{Generation, TokenSet};

/// How much of a refused answer is read beside the refresh. Nearly all are read whole in that, so their connections are
/// free for the second attempt: with all of them held, a large burst would need twice as many.
const READ_AHEAD: usize = 64 * 1024;

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
    /// What the server says of the token, if it refused it.
    pub challenge: Option<Challenge>,
    /// Why it is a redirect, if those were to be followed.
    pub not_followed: Option<NotFollowed>,
    /// What has been read of the body.
    read_ahead: VecDeque<Result<Bytes, SendError>>,
    /// Of the request; the body is part of it.
    pub(super) deadline: Option<Deadline>,
}

impl Answer {
    pub(super) fn new(response: Response, tokens: &TokenSet) -> Self {
        Self {
            response,
            retried: false,
            generation: tokens.generation,
            refusal: None,
            challenge: None,
            not_followed: None,
            read_ahead: VecDeque::new(),
            deadline: None,
        }
    }

    pub(super) fn lacks_scope(&self) -> bool {
        self.challenge.as_ref().is_some_and(Challenge::is_insufficient_scope)
    }

    /// Returns the next piece of the body, or `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, SendError> {
        if let Some(read) = self.read_ahead.pop_front() {
            return read.map(Some);
        }
        // Named only where it is told: most answers come.
        let origin = |response: &Response| response.url().origin().ascii_serialization();
        let chunk = match self.deadline {
            Some(deadline) => {
                deadline.bound(self.response.chunk()).await.map_err(|_| deadline.missed_by(origin(&self.response)))?
            }
            None => timeout(SILENCE_BOUND, self.response.chunk())
                .await
                .map_err(|_| SendError::Silent { origin: origin(&self.response), bound: SILENCE_BOUND })?,
        };
        chunk.map_err(|cause| broke_off(self.response.url(), cause))
    }

    /// Returns it as one with the body as it comes, trailers included; no bound of time goes with it.
    #[cfg(feature = "proxy")]
    pub(crate) fn into_http(self) -> hyper::Response<reqwest::Body> {
        use futures_util::stream::{StreamExt as _, TryStreamExt as _, iter};
        use http_body_util::{BodyStream, StreamBody};
        use hyper::body::Frame;

        type Cause = Box<dyn std::error::Error + Send + Sync>;

        let mut response = hyper::Response::<reqwest::Body>::from(self.response);
        if !self.read_ahead.is_empty() {
            let read = iter(self.read_ahead).map_ok(Frame::data).map_err(Cause::from);
            let rest = BodyStream::new(std::mem::take(response.body_mut())).map_err(Cause::from);
            *response.body_mut() = reqwest::Body::wrap(StreamBody::new(read.chain(rest)));
        }
        response
    }

    /// Reads as much of the body as a refusal usually has. May be dropped at any time: what was read is kept, and what was
    /// not is read by whoever wants the answer.
    pub(super) async fn read_ahead(&mut self) {
        let mut length = 0;
        while length < READ_AHEAD {
            let chunk = match self.response.chunk().await {
                Ok(Some(chunk)) => Ok(chunk),
                Ok(None) => break,
                Err(cause) => Err(broke_off(self.response.url(), cause)),
            };
            length += chunk.as_ref().map_or(READ_AHEAD, Bytes::len);
            self.read_ahead.push_back(chunk);
        }
    }
}
