//! `POST /login`.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::body::JsonBody;
use super::{ApiError, TrustedProxies, tokens};
use crate::auth::{Auth, LoginError};
use crate::domain::Password;

/// Answers a pair of tokens for `{"username", "password"}`. A missing field is a wrong one.
pub(super) async fn login(
    auth: Data<Auth>,
    proxies: Data<TrustedProxies>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let from = proxies.client(&request);
    let mut body = JsonBody::read(payload).await?;
    let name = body.take_string("username");
    let password = body.take_string("password").map(Password::presented);
    let (Some(name), Some(password)) = (name, password) else {
        return Err(ApiError::InvalidLogin);
    };
    match auth.login(&name, password, from).await {
        Ok(pair) => Ok(tokens::answer(&pair)),
        Err(LoginError::Refused) => Err(ApiError::InvalidLogin),
        Err(LoginError::Throttled { wait }) => Err(ApiError::TooManyAttempts { wait }),
        Err(LoginError::Busy) => Err(ApiError::Unavailable),
        Err(LoginError::Internal(error)) => Err(error.into()),
    }
}
