//! One request, sent once.

use std::sync::Arc;

use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use reqwest::{Method, Response};
use tokio::time::sleep_until;

use super::{Request, SILENCE_BOUND, SendError, Session};
use crate::error::{StoreError, TokenError};
use crate::http::{Head, LazyClient, Outgoing, log_request, log_response, secrets_of};
use crate::token::TokenSet;

impl Session {
    /// Sends `request` once, with the access token of `tokens` where that is to be `attached`. Whether it is or not, none of
    /// them is logged.
    pub(super) async fn exchange(
        &self,
        client: &LazyClient,
        request: &Request,
        tokens: &TokenSet,
        attached: bool,
    ) -> Result<Response, SendError> {
        let transport = client.transport().map_err(SendError::Client)?;
        let mut outgoing = request.body.open().await.map_err(SendError::Body)?.ok_or(SendError::BodySpent)?;
        let mut headers = request.headers.clone();
        if attached {
            headers.insert(&self.attachment.header, self.credential(tokens)?);
        }
        tell_length(&request.method, &mut headers, &outgoing);
        let secrets = secrets_of(tokens);
        log_request(&request.method, &request.url, &headers, &secrets);
        let head = Head { method: request.method.clone(), url: request.url.clone(), headers };
        let sending = transport.send(head, outgoing.body.take());
        tokio::pin!(sending);
        let sent = loop {
            if self.patient {
                break sending.await;
            }
            let deadline = outgoing.transfer.waiting_since() + SILENCE_BOUND;
            tokio::select! {
                sent = &mut sending => break sent,
                // Progress since then moves the deadline.
                () = sleep_until(deadline) => if outgoing.transfer.waiting_since() + SILENCE_BOUND <= deadline {
                    let origin = request.url.origin().ascii_serialization();
                    return Err(SendError::Silent { origin, bound: SILENCE_BOUND });
                }
            }
        };
        let response = sent.map_err(|cause| match outgoing.transfer.take_fault() {
            Some(fault) => SendError::Body(fault),
            None => SendError::Network { origin: request.url.origin().ascii_serialization(), cause },
        })?;
        log_response(&response, &secrets);
        Ok(response)
    }

    /// Returns the value of the header that carries the token.
    fn credential(&self, tokens: &TokenSet) -> Result<HeaderValue, SendError> {
        let token = &tokens.access_token;
        if let Some(value) = &*self.last_sent.load()
            && self.attachment.is_value_of(value, token)
        {
            return Ok(HeaderValue::clone(value));
        }
        let value = self.attachment.value(token).map_err(|_| {
            // Tokens are checked when they arrive; one that no header can carry came from a damaged store.
            SendError::Token(Arc::new(TokenError::Store(StoreError::Damaged {
                place: "the token store".into(),
                what: "the access token cannot be sent in a header".into(),
            })))
        })?;
        self.last_sent.store(Some(Arc::new(value.clone())));
        Ok(value)
    }
}

/// Says how long the body is. Methods that usually carry one say also that there is none (RFC 9110 section 8.6).
fn tell_length(method: &Method, headers: &mut HeaderMap, outgoing: &Outgoing) {
    let usually_carries = [Method::POST, Method::PUT, Method::PATCH].contains(method);
    headers.remove(TRANSFER_ENCODING);
    headers.remove(CONTENT_LENGTH);
    match outgoing.length {
        Some(length) => drop(headers.insert(CONTENT_LENGTH, length.into())),
        // The client leaves out a GET's body of unknown length unless it is told of it.
        None if outgoing.body.is_some() => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        None if usually_carries => drop(headers.insert(CONTENT_LENGTH, 0.into())),
        None => {}
    }
}
