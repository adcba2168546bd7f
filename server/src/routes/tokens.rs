//! The answer of `/login` and `/refresh`.

use actix_web::HttpResponse;
use secrecy::ExposeSecret as _;
use serde::Serialize;

use crate::auth::TokenPair;
use crate::domain::Seconds;

/// Exactly these four fields; the two times are in seconds, see [`Seconds`].
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenBody<'a> {
    access_token: &'a str,
    refresh_token: &'a str,
    expires_in: Seconds,
    refresh_expires_in: Seconds,
}

/// Shows a pair of tokens to the client that it was made for.
pub(super) fn answer(pair: &TokenPair) -> HttpResponse {
    HttpResponse::Ok().json(TokenBody {
        access_token: pair.access_token.expose_secret(),
        refresh_token: pair.refresh_token.expose_secret(),
        expires_in: Seconds(pair.expires_in),
        refresh_expires_in: Seconds(pair.refresh_expires_in),
    })
}
