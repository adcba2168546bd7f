//! One call to a login, refresh or logout endpoint.
//!
//! - No call follows a redirect (the client sees to that): it carries a password or a refresh token.
//! - Every call has its end: no server keeps a redemption, a discovery or a login waiting for more than [`TRY_BOUND`],
//!   whether it is silent or sends its answer byte by byte.

use std::sync::Arc;

use jiff::Timestamp;
use reqwest::Request;
use url::Url;

use super::answer::Answer;
use super::fault::RenewalFault;
use super::tries::TRY_BOUND;
use crate::gate::Clock;
use crate::http::{LazyClient, log_request, log_token_response, server_time};

/// Makes calls.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) client: LazyClient,
    pub(super) clock: Arc<dyn Clock>,
}

impl Caller {
    /// Sends `request`, which holds `secrets`, and reads the whole answer.
    pub(super) async fn call(&self, mut request: Request, secrets: &[&str]) -> Result<Answer, RenewalFault> {
        let url = request.url().clone();
        *request.timeout_mut() = Some(TRY_BOUND);
        log_request(request.method(), request.url(), request.headers(), secrets);
        let sent = self.client.get()?.execute(request).await;
        let response = sent.map_err(|cause| RenewalFault::of_transport(&url, cause))?;
        log_token_response(&response);
        Answer::read(response, self.now()).await
    }

    /// Finds out whether anything answers at `url`, and returns what time it is there, if it tells. Any answer will do:
    /// only silence is a fault.
    pub(super) async fn reach(&self, url: &Url) -> Result<Option<Timestamp>, RenewalFault> {
        let request = self.client.get()?.head(url.clone()).timeout(TRY_BOUND);
        let answer = request.send().await.map_err(|cause| RenewalFault::of_transport(url, cause))?;
        Ok(server_time(answer.headers()))
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::clock::SystemClock;
    use crate::http::{ClientOptions, ServerUrl};

    /// Makes a call to somebody who writes `head` and then a space every few seconds, for ever.
    async fn call_to_who_says(head: &'static str) -> (Duration, Result<Answer, RenewalFault>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = ServerUrl::parse(&listener.local_addr().unwrap().to_string()).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            loop {
                sleep(TRY_BOUND / 4).await;
                if !head.is_empty() {
                    // Who has given up has closed the connection.
                    drop(stream.write_all(b" ").await);
                }
            }
        });
        let client = LazyClient::new(server.clone(), ClientOptions::default());
        let caller = Caller { client, clock: Arc::new(SystemClock) };
        let request = Request::new(reqwest::Method::POST, server.url().clone());
        let start = Instant::now();
        let result = caller.call(request, &[]).await;
        (start.elapsed(), result)
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_or_never_comes_to_an_end_is_given_up() {
        for head in ["", "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"] {
            let (elapsed, result) = call_to_who_says(head).await;
            assert!(matches!(result, Err(RenewalFault::NoAnswer { .. })), "{head:?}: {:?}", result.err());
            assert!(elapsed <= TRY_BOUND + Duration::from_millis(10), "{head:?}: {elapsed:?}");
        }
    }
}
