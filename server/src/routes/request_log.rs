//! One line a request, and a name for it that the answer carries too.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use tracing::{Instrument as _, Span, error_span, info};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Logs method, path, status and time of each request, and nothing that a client wrote by itself: no query, no header,
/// no body, and of the path only which of ours it is. Who puts a token into a URL by mistake does not find it here.
///
/// The id is made here, never taken from the request: a client could write lines of its own with it.
pub async fn request_log<B: MessageBody>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    let id = next_id();
    // Of the gravest level, so that no filter takes the id away from a line that it lets through.
    let span = error_span!("request", %id);
    let line = Line::begin(&request, span.clone());
    let mut response = next.call(request).instrument(span).await?;
    line.end(response.status().as_u16());
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    Ok(response)
}

/// Returns a name that no other request has, and that tells nothing: not even how many there were.
///
/// It is no secret, so a hash of the request's number under keys of this process is random enough, and quick.
fn next_id() -> String {
    static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(|| [RandomState::new(), RandomState::new()]);
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let [first, second] = [&KEYS[0], &KEYS[1]].map(|key| key.hash_one(number).to_be_bytes());
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&first);
    bytes[8..].copy_from_slice(&second[..4]);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The line of a request. It is written in any case: also if nobody waits for the answer any more, for then the request
/// is dropped.
struct Line {
    span: Span,
    method: &'static str,
    path: String,
    started: Instant,
    ended: bool,
}

impl Line {
    fn begin(request: &ServiceRequest, span: Span) -> Self {
        let path = request.match_pattern().unwrap_or_else(|| "(no such path)".to_owned());
        Self { span, method: known(request.method()), path, started: Instant::now(), ended: false }
    }

    fn end(mut self, status: u16) {
        self.ended = true;
        let Self { span, method, path, .. } = &self;
        let elapsed_ms = self.elapsed_ms();
        span.in_scope(|| info!("{method} {path} {status} {elapsed_ms:.1}ms"));
    }

    fn elapsed_ms(&self) -> f64 {
        self.started.elapsed().as_secs_f64() * 1000.0
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.ended {
            let Self { span, method, path, .. } = &*self;
            let elapsed_ms = self.elapsed_ms();
            span.in_scope(|| info!("{method} {path}: given up after {elapsed_ms:.1}ms, nobody waits any more"));
        }
    }
}

/// Returns the name of a method that people use. HTTP lets clients make up others.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "(odd method)",
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, init_service};
    use actix_web::{App, HttpResponse, dev::Service as _, web};
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Log {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Log {
        type Writer = Log;

        fn make_writer(&'a self) -> Log {
            self.clone()
        }
    }

    #[test]
    fn ids_are_of_one_length_and_none_comes_twice() {
        let ids: std::collections::HashSet<String> = (0..10_000).map(|_| next_id()).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| id.len() == 16));
    }

    #[tokio::test]
    async fn a_request_that_nobody_waits_for_any_more_has_its_line_too() {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
        let _here = tracing::subscriber::set_default(subscriber);
        let never = web::get().to(std::future::pending::<HttpResponse>);
        let at_once = web::get().to(HttpResponse::Ok);
        let app = App::new().route("/never", never).route("/now", at_once).wrap(from_fn(request_log));
        let app = init_service(app).await;
        let call = |path: &str| app.call(TestRequest::with_uri(path).to_request());
        assert!(call("/now").await.is_ok());
        let mut given_up = Box::pin(call("/never"));
        let polled = std::future::poll_fn(|context| std::task::Poll::Ready(given_up.as_mut().poll(context).is_ready()));
        assert!(!polled.await);
        assert_eq!(log.text().lines().count(), 1, "{}", log.text());
        drop(given_up);
        let text = log.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].contains("GET /now 200 ") && lines[1].contains("GET /never: given up after "), "{text}");
        assert!(lines[1].contains("request{id="), "{text}");
    }
}
