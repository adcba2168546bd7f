//! Cross-origin access, on every answer and before any route.
//!
//! `OPTIONS` is 204 on any path, whoever asks; the ready-made middleware answers preflights with 200 or 400 and leaves
//! other paths alone, so this one is our own. Credentials (cookies) are never allowed: there are none.

use actix_web::Error;
use actix_web::HttpResponse;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;

const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS";
const ALLOWED_HEADERS: &str = "Authorization, Content-Type, Idempotency-Key";
const EXPOSED_HEADERS: &str = "WWW-Authenticate, Retry-After";
/// How long a browser may remember a preflight, in seconds.
const MAX_AGE: &str = "600";

/// Which web pages may read our answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// All of them.
    Any,
    /// Those on this list; none where it is empty.
    List(Vec<String>),
}

/// The text is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no origin: give a scheme and a host, such as `https://app.example.com`, or `*`")]
pub struct InvalidOrigin(String);

impl AllowedOrigins {
    /// Reads a list of origins as browsers send them; `*` among them allows any.
    pub fn parse<S: AsRef<str>>(origins: &[S]) -> Result<Self, InvalidOrigin> {
        let mut list = Vec::new();
        for origin in origins {
            let origin = origin.as_ref().trim();
            if origin == "*" {
                return Ok(Self::Any);
            }
            let invalid = || InvalidOrigin(origin.to_owned());
            let plain = origin.strip_suffix('/').unwrap_or(origin).to_ascii_lowercase();
            // Browsers leave the usual port away, so one that is given would never match.
            let usual = if plain.starts_with("https:") { ":443" } else { ":80" };
            let plain = plain.strip_suffix(usual).unwrap_or(&plain);
            let host = plain.strip_prefix("http://").or_else(|| plain.strip_prefix("https://")).ok_or_else(invalid)?;
            let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
            if host.is_empty() || !host.bytes().all(is_host) {
                return Err(invalid());
            }
            list.push(plain.to_owned());
        }
        Ok(Self::List(list))
    }

    fn header_for(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        match self {
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::List(list) => {
                origin.filter(|origin| list.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())).cloned()
            }
        }
    }
}

/// Puts the cross-origin headers on every answer and answers all `OPTIONS` itself.
pub async fn cors<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let origins = request.app_data::<Data<AllowedOrigins>>().cloned();
    let origin = request.headers().get(header::ORIGIN).cloned();
    let preflight = request.method() == Method::OPTIONS;
    let mut response = if preflight {
        let no_store = (header::CACHE_CONTROL, "no-store");
        let answer = HttpResponse::NoContent().insert_header(no_store).finish();
        request.into_response(answer).map_into_right_body()
    } else {
        next.call(request).await?.map_into_left_body()
    };
    if let Some(origins) = origins {
        add_headers(response.headers_mut(), &origins, origin.as_ref(), preflight);
    }
    Ok(response)
}

fn add_headers(headers: &mut HeaderMap, origins: &AllowedOrigins, origin: Option<&HeaderValue>, preflight: bool) {
    let mut add = |name, value| headers.insert(name, HeaderValue::from_static(value));
    if *origins != AllowedOrigins::Any {
        add(header::VARY, "Origin");
    }
    let Some(allowed) = origins.header_for(origin) else {
        return;
    };
    add(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
    // Also on other answers than preflights, as they were; browsers ignore them there.
    add(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
    add(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    if preflight {
        add(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_as_browsers_send_them() {
        let origins = AllowedOrigins::parse(&["https://App.example.com/", "http://[::1]:5173"]).unwrap();
        let allowed = |origin: &str| origins.header_for(Some(&HeaderValue::from_str(origin).unwrap())).is_some();
        assert!(allowed("https://app.example.com"));
        assert!(allowed("http://[::1]:5173"));
        assert!(!allowed("http://app.example.com"));
        assert!(!allowed("https://app.example.com.evil.test"));
        assert!(!allowed("null"));
        assert_eq!(origins.header_for(None), None);
    }

    #[test]
    fn the_usual_port_is_that_of_an_origin_without_one() {
        let listed = |origin: &str, sent: &'static str| {
            AllowedOrigins::parse(&[origin]).unwrap().header_for(Some(&HeaderValue::from_static(sent))).is_some()
        };
        assert!(listed("https://app.example.com:443", "https://app.example.com"));
        assert!(listed("http://app.example.com:80/", "http://app.example.com"));
        assert!(listed("http://[::1]:80", "http://[::1]"));
        for origin in ["https://a.test:80", "http://a.test:443", "https://a.test:8443", "http://a.test:8080"] {
            assert!(AllowedOrigins::parse(&[origin]).unwrap().header_for(Some(&origin.parse().unwrap())).is_some());
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in
            ["app.example.com", "https://", "https://a/b", "https://a b", "https://:443", "http://:80/", "ftp://a", ""]
        {
            assert!(AllowedOrigins::parse(&[text]).is_err(), "{text}");
        }
        assert_eq!(AllowedOrigins::parse(&["https://a", "*"]), Ok(AllowedOrigins::Any));
    }
}
