//! `GET /protected`: what a protected API looks like.

use actix_web::http::header::{AUTHORIZATION, HeaderValue};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::ApiError;
use crate::auth::{AccessError, Auth, Caller};
use crate::domain::{Credentials, UserId, parse_authorization};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProtectedBody {
    message: &'static str,
    user_id: UserId,
}

/// Answers who is asking.
pub(super) async fn protected(auth: Data<Auth>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let values = request.headers().get_all(AUTHORIZATION).map(HeaderValue::as_bytes);
    let token = match parse_authorization(values) {
        Credentials::Missing => return Err(ApiError::AuthorizationRequired),
        Credentials::Unusable => return Err(ApiError::InvalidAccessToken),
        Credentials::Bearer(token) => token,
    };
    match auth.authorize(token).await {
        Ok(Caller { user_id, .. }) => {
            Ok(HttpResponse::Ok().json(ProtectedBody { message: "Protected resource", user_id }))
        }
        Err(AccessError::Refused) => Err(ApiError::InvalidAccessToken),
        Err(AccessError::Internal(error)) => Err(error.into()),
    }
}
