//! One call to a login, refresh or logout endpoint.
//!
//! No call follows a redirect (the client sees to that): it carries a password or a refresh token.

use std::sync::Arc;

use jiff::Timestamp;
use reqwest::{Client, Request};
use url::Url;

use super::answer::Answer;
use super::fault::RenewalFault;
use super::tries::TRY_BOUND;
use crate::gate::Clock;
use crate::http::{log_request, log_token_response, server_time};

/// Makes calls.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) client: Client,
    pub(super) clock: Arc<dyn Clock>,
}

impl Caller {
    /// Sends `request`, which holds `secrets`, and reads the whole answer.
    pub(super) async fn call(&self, mut request: Request, secrets: &[&str]) -> Result<Answer, RenewalFault> {
        let url = request.url().clone();
        *request.timeout_mut() = Some(TRY_BOUND);
        log_request(&request, secrets);
        let response = self.client.execute(request).await.map_err(|cause| RenewalFault::of_transport(&url, cause))?;
        log_token_response(&response);
        Answer::read(response, self.now()).await
    }

    /// Finds out whether anything answers at `url`, and returns what time it is there, if it tells. Any answer will do:
    /// only silence is a fault.
    pub(super) async fn reach(&self, url: &Url) -> Result<Option<Timestamp>, RenewalFault> {
        let request = self.client.head(url.clone()).timeout(TRY_BOUND);
        let answer = request.send().await.map_err(|cause| RenewalFault::of_transport(url, cause))?;
        Ok(server_time(answer.headers()))
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
