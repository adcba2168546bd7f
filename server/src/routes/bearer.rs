//! Who calls: the bearer token of a request, judged.

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HeaderValue};

use super::ApiError;
use crate::auth::{AccessError, Auth, Caller};
use crate::domain::{Credentials, parse_authorization};

/// Returns who calls; everybody else is told 401 without credentials and 403 with wrong ones.
pub(super) async fn caller(auth: &Auth, request: &HttpRequest) -> Result<Caller, ApiError> {
    let values = request.headers().get_all(AUTHORIZATION).map(HeaderValue::as_bytes);
    let token = match parse_authorization(values) {
        Credentials::Missing => return Err(ApiError::AuthorizationRequired),
        Credentials::Unusable => return Err(ApiError::InvalidAccessToken),
        Credentials::Bearer(token) => token,
    };
    match auth.authorize(token).await {
        Ok(caller) => Ok(caller),
        Err(AccessError::Refused) => Err(ApiError::InvalidAccessToken),
        Err(AccessError::Internal(error)) => Err(error.into()),
    }
}
