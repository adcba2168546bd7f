//! Cross-origin headers: on every answer, whatever it is.

use authcli_server::routes::AllowedOrigins;
use reqwest::{Method, Response};

use crate::helpers::{TestApp, spawn_app, spawn_app_with};

async fn send(app: &TestApp, method: &Method, path: &str, body: &str) -> Response {
    let request = app.request(method.clone(), path).header("Origin", "https://app.example.com");
    request.body(body.to_owned()).send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn e8_every_answer_may_be_read_by_any_page() {
    let app = spawn_app().await;
    let large = "a".repeat(65 * 1024);
    let table = [
        (Method::GET, "/healthz", "", 200),
        (Method::POST, "/login", "{", 400),
        (Method::GET, "/protected", "", 401),
        (Method::POST, "/refresh", r#"{"refreshToken":"x"}"#, 403),
        (Method::GET, "/nowhere", "", 404),
        (Method::GET, "/login", "", 405),
        (Method::POST, "/login", &large, 413),
        (Method::OPTIONS, "/login", "", 204),
    ];
    for (method, path, body, status) in table {
        let response = send(&app, &method, path, body).await;
        assert_eq!(response.status(), status, "{method} {path}");
        assert_eq!(header(&response, "access-control-allow-origin"), Some("*"), "{method} {path}");
        let exposed = header(&response, "access-control-expose-headers").unwrap();
        for name in ["WWW-Authenticate", "Retry-After"] {
            assert!(exposed.contains(name), "{method} {path}: {exposed}");
        }
        assert_eq!(header(&response, "access-control-allow-credentials"), None);
    }
}

#[tokio::test]
async fn options_is_204_on_any_path_whoever_asks() {
    let app = spawn_app().await;
    for path in ["/login", "/refresh", "/protected", "/logout", "/healthz", "/nowhere", "/a/b?c=d"] {
        for preflight in [true, false] {
            let mut request = app.request(Method::OPTIONS, path);
            if preflight {
                request = request
                    .header("Origin", "https://app.example.com")
                    .header("Access-Control-Request-Method", "PURGE")
                    .header("Access-Control-Request-Headers", "x-unheard-of");
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 204, "{path}");
            let allowed = header(&response, "access-control-allow-headers").unwrap();
            for name in ["Authorization", "Content-Type", "Idempotency-Key"] {
                assert!(allowed.contains(name), "{path}: {allowed}");
            }
            assert_eq!(response.text().await.unwrap(), "", "{path}");
        }
    }
}

#[tokio::test]
async fn e8_only_listed_pages_may_read_where_there_is_a_list() {
    let list = |list: &[&str]| AllowedOrigins::parse(list).unwrap();
    let listed = spawn_app_with(|config| config.origins = list(&["https://app.example.com"])).await;
    let other = spawn_app_with(|config| config.origins = list(&["https://other.example.com"])).await;
    let none = spawn_app_with(|config| config.origins = list(&[])).await;
    for (app, allowed) in [(&listed, Some("https://app.example.com")), (&other, None), (&none, None)] {
        for method in [Method::GET, Method::OPTIONS] {
            let response = send(app, &method, "/protected", "").await;
            assert_eq!(header(&response, "access-control-allow-origin"), allowed, "{method}");
            assert_eq!(header(&response, "vary"), Some("Origin"), "{method}");
        }
    }
}
