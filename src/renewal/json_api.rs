//! The JSON API of the seed: `POST /login`, `POST /refresh`, `POST /logout`.
//!
//! None of these calls follows a redirect: they carry a password or a refresh token. A refresh is sent under the
//! session's attempt key (`Idempotency-Key`), and may be tried again because such servers answer a repeated redemption
//! with the same successor, or with a new pair that replaces nothing.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use reqwest::{Client, StatusCode};
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::Revocation;
use super::answer::{Answer, printable, words};
use super::caller::Caller;
use super::fault::RenewalFault;
use super::issued;
use super::tries::{Repeat, Verdict, redeem};
use crate::gate::{Clock, Renewal, RenewalError, WayOut};
use crate::http::{AddressError, ServerUrl, secrets_of};
use crate::token::{IssuedTokens, Secret, TokenSet};

/// The login, refresh and logout calls of one server.
#[derive(Clone)]
pub struct JsonApi {
    caller: Caller,
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
        Self { caller: Caller { client, clock } }
    }

    /// Returns where the refresh token of a login at `server` may be redeemed.
    pub fn refresh_endpoint(server: &ServerUrl) -> Result<Url, AddressError> {
        server.join("refresh")
    }

    /// Returns where a session of `server` is revoked.
    pub fn revocation_endpoint(server: &ServerUrl) -> Result<Url, AddressError> {
        server.join("logout")
    }

    /// Finds out whether anything answers at `server`, and returns what time it is there, if it tells. Any answer will do:
    /// only silence is a fault.
    pub async fn reach(&self, server: &ServerUrl) -> Result<Option<Timestamp>, RenewalFault> {
        self.caller.reach(server.url()).await
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
            StatusCode::OK | StatusCode::CREATED => tokens(&answer).map_err(LoginError::Fault),
            StatusCode::TOO_MANY_REQUESTS => Err(LoginError::Throttled { origin, retry_after: answer.retry_after }),
            status @ (StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                match error_text(&answer, &[password.expose()]) {
                    Some(reason) => Err(LoginError::Refused { origin, status, reason }),
                    None => Err(LoginError::Fault(answer.unexpected())),
                }
            }
            status if status.is_server_error() => Err(LoginError::Fault(answer.unexpected())),
            status => Err(LoginError::NoSuchCall { url: answer.url, status }),
        }
    }

    /// Revokes a session. `Ok(false)`: it cannot be revoked there.
    pub async fn revoke(&self, session: Revocation<'_>) -> Result<bool, RenewalFault> {
        let (Some(endpoint), Some(refresh_token)) = (session.endpoint, session.refresh_token) else {
            return Ok(false);
        };
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
        let mut request = self.caller.client.post(url.clone()).json(body);
        if let Some(key) = attempt_key {
            request = request.header("Idempotency-Key", key);
        }
        let request = request.build().map_err(|cause| RenewalFault::of_transport(url, cause))?;
        self.caller.call(request, secrets).await
    }

    async fn redeem(&self, tokens: &TokenSet, way_out: &WayOut) -> Result<IssuedTokens, RenewalError> {
        let Some(refresh_token) = &tokens.refresh_token else {
            return Err(RenewalError::NothingToRedeem);
        };
        let body = RefreshBody { refresh_token: refresh_token.expose() };
        let secrets = secrets_of(tokens);
        let attempt = || async {
            let key = Some(tokens.attempt_key.expose());
            match self.post(&tokens.refresh_endpoint, &body, key, &secrets).await {
                Ok(answer) => judge(&answer, &secrets),
                Err(fault) => Verdict::Again(fault, None),
            }
        };
        redeem(way_out, Repeat::Safe, attempt).await
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

/// Only a clear refusal ends a session: 400, 401 or 403 with a JSON object that holds `error`. Everything else that is
/// not a pair of tokens leaves it standing, and so does an `error` that OAuth 2.0 gives to clients rather than to grants.
fn judge(answer: &Answer, secrets: &[&str]) -> Verdict {
    let asked = answer.retry_after;
    match answer.status {
        StatusCode::OK | StatusCode::CREATED => match tokens(answer) {
            Ok(tokens) => Verdict::Tokens(tokens),
            // Cut off or garbled on the way: the same attempt gets the same tokens.
            Err(fault) => Verdict::Again(fault, asked),
        },
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            match error_text(answer, secrets) {
                Some(code) if blames_the_client(&code) => Verdict::Misconfigured(answer.refusal(code)),
                Some(reason) => Verdict::Refused(reason),
                None => Verdict::NotNow(answer.unexpected(), asked),
            }
        }
        // Who limits calls without saying for how long is not called again.
        StatusCode::TOO_MANY_REQUESTS if asked.is_none() => Verdict::NotNow(answer.unexpected(), asked),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Verdict::Again(answer.unexpected(), asked)
        }
        // A captive portal, a gateway that has lost its server: not the endpoint's own voice.
        _ => Verdict::NotNow(answer.not_here(), asked),
    }
}

/// The codes of RFC 6749 section 5.2 that say nothing of the grant: the session may well stand.
fn blames_the_client(code: &str) -> bool {
    ["invalid_request", "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"]
        .contains(&code)
}

/// Returns the tokens in a successful answer.
fn tokens(answer: &Answer) -> Result<IssuedTokens, RenewalFault> {
    let value = answer.json().ok_or_else(|| answer.nonsense("a body that is not JSON"))?;
    let keys = match &value {
        Value::Object(object) => object.keys().map(|key| printable(key)).collect::<Vec<_>>().join(", "),
        _ => return Err(answer.nonsense("JSON that is not an object")),
    };
    let fields: Fields = serde_json::from_value(value)
        .map_err(|_| answer.nonsense(format!("no usable `accessToken` (its keys: {keys})")))?;
    let access_token = Zeroizing::new(fields.access_token);
    let access_token =
        issued::token(&access_token).ok_or_else(|| answer.nonsense("an `accessToken` that no header can carry"))?;
    let refresh_token = fields.refresh_token.filter(|token| !token.is_empty()).map(Secret::new);
    Ok(IssuedTokens {
        access_lifetime: issued::lifetime(fields.expires_in.as_ref(), Some(&access_token)),
        refresh_lifetime: issued::lifetime(fields.refresh_expires_in.as_ref(), refresh_token.as_ref()),
        access_token,
        refresh_token,
    })
}

/// Returns what the server wrote under `error`, if the body is a JSON object that says something there.
fn error_text(answer: &Answer, secrets: &[&str]) -> Option<String> {
    words(answer.json()?.as_object()?.get("error")?, secrets, &format!("answered {}", answer.status))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    access_token: String,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    expires_in: Option<Value>,
    #[serde(default)]
    refresh_expires_in: Option<Value>,
}

#[cfg(test)]
mod tests {
    use super::super::answer::tests::answer;
    use super::*;

    #[test]
    fn nonsense_is_named_by_its_keys_and_never_by_its_values() {
        for (body, expected) in [
            ("<html>canary</html>", "a body that is not JSON"),
            ("[\"canary\"]", "JSON that is not an object"),
            ("{\"token\":\"canary\"}", "its keys: token"),
            ("{\"accessToken\":{\"x\":\"canary\"}}", "its keys: accessToken"),
            ("{\"accessToken\":\"\"}", "no header can carry"),
            ("{\"accessToken\":\"canary\\r\\nX: y\"}", "no header can carry"),
        ] {
            let error = tokens(&answer(200, body)).unwrap_err().to_string();
            assert!(error.contains(expected), "{body}: {error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn an_error_is_a_field_of_an_object() {
        for body in ["[\"nope\"]", "<html>", "{\"message\":\"no\"}", "{\"error\":null}"] {
            assert_eq!(error_text(&answer(403, body), &[]), None, "{body}");
        }
        assert_eq!(error_text(&answer(403, "{\"error\":\"no\"}"), &[]).as_deref(), Some("no"));
    }
}
