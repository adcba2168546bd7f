//! Logging in to a JSON API: with a password, or by a refresh token from elsewhere.

use std::time::Duration;

use reqwest::StatusCode;

use super::JsonApi;
use super::reading::{self, To};
use super::request;
use crate::http::{AddressError, ServerUrl};
use crate::renewal::answer::Answer;
use crate::renewal::fault::RenewalFault;
use crate::token::{IssuedTokens, Secret};

/// What a login brought.
#[derive(Debug)]
pub struct LoggedIn {
    /// What the server issued.
    pub issued: IssuedTokens,
    /// What the answer lacks although the profile says where it is, in words for people.
    pub missed: Vec<String>,
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
    /// The refresh call wants the access token, too, so a refresh token alone is not enough. Log in with a password.
    #[error("the refresh call of {origin} wants the access token, too")]
    NeedsAccessToken {
        /// Which server.
        origin: String,
    },
    /// The server was away or answered nonsense.
    #[error("could not log in")]
    Fault(#[source] RenewalFault),
    /// The address cannot be joined.
    #[error(transparent)]
    Address(#[from] AddressError),
}

impl JsonApi {
    /// Logs in with a password at `server`, which is where the login call is.
    pub async fn login(&self, server: &ServerUrl, account: &str, password: &Secret) -> Result<LoggedIn, LoginError> {
        let url = server.join(&self.shape.login.path)?;
        let call = request::login(&self.shape, account, password);
        let secrets = [&[password.expose()], request::constants(&self.shape).as_slice()].concat();
        let answer = self.send(call, &url, None, &secrets).await.map_err(LoginError::Fault)?;
        self.judge_login(server, To::Login, answer, &secrets)
    }

    /// Takes up a session by a refresh token from elsewhere: redeems it once at `server`, which is where the refresh call
    /// is. A token that the answer does not replace stays good.
    pub async fn take_up(&self, server: &ServerUrl, refresh_token: &Secret) -> Result<LoggedIn, LoginError> {
        if self.shape.refresh.access_token.is_some() {
            return Err(LoginError::NeedsAccessToken { origin: server.origin_text() });
        }
        let url = self.refresh_endpoint(server)?;
        let call = request::refresh(&self.shape, refresh_token, None);
        let secrets = [&[refresh_token.expose()], request::constants(&self.shape).as_slice()].concat();
        let answer = self.send(call, &url, None, &secrets).await.map_err(LoginError::Fault)?;
        let LoggedIn { mut issued, .. } = self.judge_login(server, To::Refresh, answer, &secrets)?;
        issued.refresh_token.get_or_insert_with(|| refresh_token.clone());
        Ok(LoggedIn { issued, missed: Vec::new() })
    }

    fn judge_login(
        &self,
        server: &ServerUrl,
        to: To,
        answer: Answer,
        secrets: &[&str],
    ) -> Result<LoggedIn, LoginError> {
        let (origin, status) = (server.origin_text(), answer.status);
        let silence = match status {
            _ if status.is_success() => match reading::tokens(&self.shape, to, &answer) {
                Ok(reading) => return Ok(LoggedIn { issued: reading.tokens, missed: reading.missed }),
                Err(fault) => fault,
            },
            StatusCode::TOO_MANY_REQUESTS => {
                return Err(LoginError::Throttled { origin, retry_after: answer.retry_after });
            }
            _ if status.is_server_error() => return Err(LoginError::Fault(answer.not_here())),
            StatusCode::BAD_REQUEST
            | StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::UNPROCESSABLE_ENTITY => reading::silent(&self.shape, to, &answer),
            _ => return Err(LoginError::NoSuchCall { url: answer.url, status }),
        };
        match reading::error(&self.shape, to, &answer, secrets) {
            // A code beside a success may be that of the success.
            Some(said) if !status.is_success() || said.is_text || said.is_an_end => {
                Err(LoginError::Refused { origin, status, reason: said.words })
            }
            _ => Err(LoginError::Fault(silence)),
        }
    }
}
