//! `GET /protected`: what a protected API looks like.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::ApiError;
use super::bearer::caller;
use crate::auth::Auth;
use crate::domain::UserId;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProtectedBody {
    message: &'static str,
    user_id: UserId,
}

/// Answers who is asking.
pub(super) async fn protected(auth: Data<Auth>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let caller = caller(&auth, &request).await?;
    Ok(HttpResponse::Ok().json(ProtectedBody { message: "Protected resource", user_id: caller.user_id }))
}
