//! HTTP: reads requests, asks [`crate::auth`], shapes answers.
//!
//! Statuses and bodies of `/login`, `/refresh` and `/protected` are those of the first server of this kind, quirks
//! included, because its clients run against this one; `tests/api/wire.rs` pins them.

mod bearer;
mod body;
mod cors;
mod error;
mod forwarded;
mod health;
mod jwks;
mod login;
mod logout;
mod protected;
mod refresh;
mod request_log;
mod sessions;
mod tokens;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::middleware::DefaultHeaders;
use actix_web::web::{self, ServiceConfig};

pub use cors::{AllowedOrigins, InvalidOrigin, cors};
pub use error::ApiError;
pub use forwarded::{InvalidProxy, TrustedProxies};
pub use request_log::request_log;

/// Adds all routes. [`crate::auth::Auth`] and [`TrustedProxies`] are expected as application data.
pub fn configure(config: &mut ServiceConfig) {
    config
        .service(token_route("/login", web::post().to(login::login)))
        .service(token_route("/refresh", web::post().to(refresh::refresh)))
        .service(token_route("/logout", web::post().to(logout::logout)))
        .service(
            web::resource("/protected")
                .route(web::get().to(protected::protected))
                .route(web::head().to(protected::protected))
                .default_service(web::to(|| error::method_not_allowed("GET, HEAD"))),
        )
        .service(
            read_only("/sessions", || web::to(sessions::list))
                .wrap(DefaultHeaders::new().add((CACHE_CONTROL, "no-store"))),
        )
        .service(
            web::resource("/sessions/{id}")
                .route(web::delete().to(sessions::delete))
                .default_service(web::to(|| error::method_not_allowed("DELETE"))),
        )
        .service(read_only("/.well-known/jwks.json", || web::to(jwks::jwks)))
        .service(read_only("/healthz", || web::to(health::healthz)))
        .service(read_only("/readyz", || web::to(health::readyz)))
        .default_service(web::to(error::not_found));
}

/// A route whose answers hold tokens or tell of them: none of them may be kept by a cache.
fn token_route(path: &str, post: actix_web::Route) -> impl actix_web::dev::HttpServiceFactory + use<> {
    web::resource(path)
        .route(post)
        .default_service(web::to(|| error::method_not_allowed("POST")))
        .wrap(DefaultHeaders::new().add((CACHE_CONTROL, "no-store")))
}

fn read_only(path: &str, answer: impl Fn() -> actix_web::Route) -> actix_web::Resource {
    web::resource(path)
        .route(answer().method(actix_web::http::Method::GET))
        .route(answer().method(actix_web::http::Method::HEAD))
        .default_service(web::to(|| error::method_not_allowed("GET, HEAD")))
}
