//! The JSON API of the seed: `POST /login`, `POST /refresh`, `POST /logout`.
//!
//! None of these calls follows a redirect: they carry a password or a refresh token. A refresh is sent under the
//! session's attempt key (`Idempotency-Key`), and may be tried again because such servers answer a repeated redemption
//! with the same successor, or with a new pair that replaces nothing.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures_util::future::BoxFuture;
use reqwest::{Client, StatusCode};
use serde::Serialize;
use tokio::time::Instant;
use tracing::debug;
use url::Url;

use super::answer::Answer;
use super::fault::RenewalFault;
use crate::gate::{Clock, RENEWAL_BOUND, Renewal, RenewalError, WayOut};
use crate::http::{AddressError, CONNECT_BOUND, ServerUrl, log_request, log_token_response, secrets_of};
use crate::token::{IssuedTokens, Secret, TokenSet};

/// One try, from the connection to the last byte of the answer. A little longer than the connection alone may take: so a
/// server that cannot be reached is told from one that does not answer, which may have done what it was asked.
const TRY_BOUND: Duration = CONNECT_BOUND.saturating_add(Duration::from_millis(250));
const TRIES: usize = 3;
/// A pause that the server asks for beyond this would not fit into the flight.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// The login, refresh and logout calls of one server.
#[derive(Clone)]
pub struct JsonApi {
    client: Client,
    clock: Arc<dyn Clock>,
}

/// Why a login did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The server knows no such account and password.
    #[error("{origin} refused the login: {reason}")]
    Refused {
        /// Which server.
        origin: String,
        /// Its status.
        status: StatusCode,
        /// Its words.
        reason: String,
    },
    /// The server asks to slow down.
    #[error("{origin} accepts no more logins for now")]
    Throttled {
        /// Which server.
        origin: String,
        /// How long it asked to wait.
        retry_after: Option<Duration>,
    },
    /// The address has no login of this kind.
    #[error("{url} answered {status}, so there is no login there")]
    NoSuchCall {
        /// Which address.
        url: String,
        /// Its status.
        status: StatusCode,
    },
    /// The server was away or answered nonsense.
    #[error("could not log in")]
    Fault(#[source] RenewalFault),
    /// The address cannot be joined.
    #[error(transparent)]
    Address(#[from] AddressError),
}

#[derive(Serialize)]
struct LoginBody<'a> {
    username: &'a str,
    password: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RefreshBody<'a> {
    refresh_token: &'a str,
}

impl JsonApi {
    /// The calls that `client` makes.
    pub fn new(client: Client, clock: Arc<dyn Clock>) -> Self {
        Self { client, clock }
    }

    /// Returns where the refresh token of a login at `server` may be redeemed.
    pub fn refresh_endpoint(server: &ServerUrl) -> Result<Url, AddressError> {
        server.join("refresh")
    }

    /// Returns where a session of `server` is revoked.
    pub fn revocation_endpoint(server: &ServerUrl) -> Result<Url, AddressError> {
        server.join("logout")
    }

    /// Finds out whether anything answers at `server`. Any answer will do: only silence is a fault.
    pub async fn reach(&self, server: &ServerUrl) -> Result<(), RenewalFault> {
        let request = self.client.head(server.url().clone()).timeout(TRY_BOUND);
        request.send().await.map(drop).map_err(|cause| transport_fault(server.url(), cause))
    }

    /// Logs in with a password.
    pub async fn login(
        &self,
        server: &ServerUrl,
        account: &str,
        password: &Secret,
    ) -> Result<IssuedTokens, LoginError> {
        let url = server.join("login")?;
        let body = LoginBody { username: account, password: password.expose() };
        let answer = self.post(&url, &body, None, &[password.expose()]).await.map_err(LoginError::Fault)?;
        let origin = server.origin_text();
        match answer.status {
            StatusCode::OK | StatusCode::CREATED => answer.tokens().map_err(LoginError::Fault),
            StatusCode::TOO_MANY_REQUESTS => Err(LoginError::Throttled { origin, retry_after: answer.retry_after }),
            status @ (StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                match answer.error_text(&[password.expose()]) {
                    Some(reason) => Err(LoginError::Refused { origin, status, reason }),
                    None => Err(LoginError::Fault(answer.unexpected())),
                }
            }
            status if status.is_server_error() => Err(LoginError::Fault(answer.unexpected())),
            status => Err(LoginError::NoSuchCall { url: answer.url, status }),
        }
    }

    /// Revokes the session of `refresh_token` at the `endpoint` for that. `Ok(false)`: the server has no such call.
    pub async fn revoke(&self, endpoint: &Url, refresh_token: &Secret) -> Result<bool, RenewalFault> {
        let refresh_token = refresh_token.expose();
        let answer = self.post(endpoint, &RefreshBody { refresh_token }, None, &[refresh_token]).await?;
        match answer.status {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => Ok(false),
            _ => Err(answer.unexpected()),
        }
    }

    /// Sends `body`, which holds `secrets`.
    async fn post(
        &self,
        url: &Url,
        body: &impl Serialize,
        attempt_key: Option<&str>,
        secrets: &[&str],
    ) -> Result<Answer, RenewalFault> {
        let mut request = self.client.post(url.clone()).timeout(TRY_BOUND).json(body);
        if let Some(key) = attempt_key {
            request = request.header("Idempotency-Key", key);
        }
        let request = request.build().map_err(|cause| transport_fault(url, cause))?;
        log_request(&request, secrets);
        let response = self.client.execute(request).await.map_err(|cause| transport_fault(url, cause))?;
        log_token_response(&response);
        Answer::read(response, self.clock.now()).await
    }

    async fn redeem(&self, tokens: &TokenSet, way_out: &WayOut) -> Result<IssuedTokens, RenewalError> {
        let Some(refresh_token) = &tokens.refresh_token else {
            return Err(RenewalError::NothingToRedeem);
        };
        let body = RefreshBody { refresh_token: refresh_token.expose() };
        let mut pauses = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_max_times(TRIES - 1)
            .with_jitter()
            .build();
        let secrets = secrets_of(tokens);
        let mut unanswered = false;
        let start = Instant::now();
        loop {
            let key = Some(tokens.attempt_key.expose());
            let result = self.post(&tokens.refresh_endpoint, &body, key, &secrets).await;
            let (fault, asked) = match result {
                Ok(answer) => match judge(&answer, &secrets) {
                    Verdict::Tokens(issued) => return Ok(issued),
                    Verdict::Refused(reason) => return Err(RenewalError::SessionEnded { reason, unanswered }),
                    Verdict::Misconfigured(fault) => {
                        return Err(RenewalError::Misconfigured { cause: Arc::new(fault), unanswered });
                    }
                    Verdict::NotNow(fault) => {
                        let (cause, retry_after) = (Arc::new(fault), answer.retry_after);
                        return Err(RenewalError::Transient { cause, retry_after, unanswered });
                    }
                    Verdict::Again(fault) => (fault, answer.retry_after),
                },
                Err(fault) => (fault, None),
            };
            unanswered |= fault.leaves_doubt();
            let pause = pauses.next().map(|pause| pause.max(asked.unwrap_or_default()));
            // A try that would be cut off in the middle is not begun.
            let fits = |pause: &Duration| start.elapsed() + *pause + TRY_BOUND <= RENEWAL_BOUND;
            let pause = pause.filter(|pause| *pause <= LONGEST_PAUSE && fits(pause));
            if let Some(pause) = pause {
                debug!(%fault, ?pause, "the refresh failed; trying again with the same attempt key");
                if !way_out.begins_within(pause).await {
                    continue;
                }
            }
            return Err(RenewalError::Transient { cause: Arc::new(fault), retry_after: asked, unanswered });
        }
    }
}

impl Renewal for JsonApi {
    fn renew<'a>(
        &'a self,
        tokens: &'a TokenSet,
        way_out: &'a WayOut,
    ) -> BoxFuture<'a, Result<IssuedTokens, RenewalError>> {
        Box::pin(self.redeem(tokens, way_out))
    }
}

/// What one answer to a refresh comes to.
enum Verdict {
    Tokens(IssuedTokens),
    /// A clear refusal, in the server's words: the session is over.
    Refused(String),
    /// The session stands; another try may help, now or later.
    Again(RenewalFault),
    /// The session stands; another try now would not help.
    NotNow(RenewalFault),
    /// The session stands; no try will help until somebody mends this client or the server.
    Misconfigured(RenewalFault),
}

/// Only a clear refusal ends a session: 400, 401 or 403 with a JSON object that holds `error`. Everything else that is
/// not a pair of tokens leaves it standing, and so does an `error` that OAuth 2.0 gives to clients rather than to grants.
fn judge(answer: &Answer, secrets: &[&str]) -> Verdict {
    match answer.status {
        StatusCode::OK | StatusCode::CREATED => match answer.tokens() {
            Ok(tokens) => Verdict::Tokens(tokens),
            // Cut off or garbled on the way: the same attempt gets the same tokens.
            Err(fault) => Verdict::Again(fault),
        },
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            match answer.error_text(secrets) {
                Some(code) if blames_the_client(&code) => Verdict::Misconfigured(answer.refusal(code)),
                Some(reason) => Verdict::Refused(reason),
                None => Verdict::NotNow(answer.unexpected()),
            }
        }
        // Who limits calls without saying for how long is not called again.
        StatusCode::TOO_MANY_REQUESTS if answer.retry_after.is_none() => Verdict::NotNow(answer.unexpected()),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Verdict::Again(answer.unexpected())
        }
        // A captive portal, a gateway that has lost its server: not the endpoint's own voice.
        status => Verdict::NotNow(RenewalFault::Status { url: answer.url.clone(), status }),
    }
}

/// The codes of RFC 6749 section 5.2 that say nothing of the grant: the session may well stand.
fn blames_the_client(code: &str) -> bool {
    ["invalid_request", "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"]
        .contains(&code)
}

fn transport_fault(url: &Url, cause: reqwest::Error) -> RenewalFault {
    let origin = url.origin().ascii_serialization();
    // The URL is named once; in the cause it would stand again.
    let cause = cause.without_url();
    if cause.is_connect() {
        RenewalFault::Unreachable { origin, cause }
    } else {
        RenewalFault::NoAnswer { origin, cause }
    }
}
