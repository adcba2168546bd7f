//! `GET /.well-known/jwks.json`: the public keys, for whoever verifies access tokens
//! ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)).

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, ContentType};
use actix_web::web::Data;

use crate::auth::Auth;
use crate::domain::JWKS_MAX_AGE;

/// Answers the keys that verify, those among them that do not sign yet.
pub(super) async fn jwks(auth: Data<Auth>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, format!("public, max-age={}", JWKS_MAX_AGE.as_secs())))
        .content_type(ContentType::json())
        .body(auth.keys.jwks())
}
