//! `POST /login`.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::body::JsonBody;
use super::{ApiError, tokens};
use crate::auth::{Auth, LoginError};
use crate::domain::Password;

/// Answers a pair of tokens for `{"username", "password"}`. A missing field is a wrong one.
///
/// The client's address is that of the connection: a header could be anybody's word.
pub(super) async fn login(auth: Data<Auth>, request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    // None is no connection over TCP; those are counted together.
    let from = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
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
