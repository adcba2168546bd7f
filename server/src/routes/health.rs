//! `GET /healthz` (the process lives) and `GET /readyz` (it can do its work).

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde_json::json;

use super::ApiError;
use crate::auth::Auth;

/// Answers that the process lives.
pub(super) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// Answers that the database can be read and written to.
pub(super) async fn readyz(auth: Data<Auth>) -> Result<HttpResponse, ApiError> {
    if auth.is_ready().await? {
        Ok(HttpResponse::Ok().json(json!({ "status": "ready" })))
    } else {
        Err(ApiError::Unavailable)
    }
}
