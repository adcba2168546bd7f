//! `POST /refresh`.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;

use super::body::JsonBody;
use super::{ApiError, tokens};
use crate::auth::{Auth, RefreshError};
use crate::domain::AttemptKey;

/// Answers the successor of `{"refreshToken"}`; `Idempotency-Key` makes it repeatable at any time.
pub(super) async fn refresh(
    auth: Data<Auth>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let attempt = attempt_key(&request);
    let token = match JsonBody::read(payload).await?.take("refreshToken") {
        Some(Value::String(token)) if !token.is_empty() => token,
        // What JavaScript holds for false counts as missing, as it did.
        None | Some(Value::Null | Value::Bool(false) | Value::String(_)) => {
            return Err(ApiError::RefreshTokenRequired);
        }
        Some(Value::Number(number)) if number.as_f64() == Some(0.0) => {
            return Err(ApiError::RefreshTokenRequired);
        }
        Some(_) => return Err(ApiError::InvalidRefreshToken),
    };
    match auth.refresh(&token, attempt).await {
        Ok(pair) => Ok(tokens::answer(&pair)),
        Err(RefreshError::Refused) => Err(ApiError::InvalidRefreshToken),
        Err(RefreshError::Internal(error)) => Err(error.into()),
    }
}

/// Returns the attempt key of a request. Of several headers none counts.
fn attempt_key(request: &HttpRequest) -> Option<AttemptKey> {
    let mut values = request.headers().get_all("idempotency-key");
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    AttemptKey::parse(value.as_bytes())
}
