//! One line a request, and a name for it that the answer carries too.

use std::time::Instant;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use tracing::{Instrument as _, info, info_span};

use crate::random;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST_PATH: usize = 128;

/// Logs method, path, status and time of each request, and nothing that could hold a secret: no query, no header, no
/// body.
///
/// The id is made here, never taken from the request: a client could write lines of its own with it.
pub async fn request_log<B: MessageBody>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    let id = random::word::<12>();
    let method = request.method().clone();
    let path: String = request.path().chars().take(LONGEST_PATH).collect();
    let started = Instant::now();
    let span = info_span!("request", %id);
    let mut response = next.call(request).instrument(span.clone()).await?;
    let status = response.status().as_u16();
    let elapsed_ms = started.elapsed().as_secs_f64() * 1000.0;
    span.in_scope(|| info!("{method} {path} {status} {elapsed_ms:.1}ms"));
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    Ok(response)
}
