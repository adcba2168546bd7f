//! `POST /logout`.

use actix_web::HttpResponse;
use actix_web::web::{Data, Payload};

use super::ApiError;
use super::body::JsonBody;
use crate::auth::Auth;

/// Ends the session of `{"refreshToken"}` and answers 204, also where there is nothing to end.
///
/// Only a database that is away is told: a client that hears 204 may forget a session that lives on.
pub(super) async fn logout(auth: Data<Auth>, payload: Payload) -> Result<HttpResponse, ApiError> {
    let token = match JsonBody::read(payload).await {
        Ok(mut body) => body.take_string("refreshToken"),
        Err(ApiError::MalformedBody) => None,
        Err(error) => return Err(error),
    };
    if let Some(token) = token {
        auth.logout(&token).await?;
    }
    Ok(HttpResponse::NoContent().finish())
}
