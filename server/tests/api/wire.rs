//! The answers that other clients rely on, each pinned: statuses, bodies, headers.

use reqwest::Method;
use serde_json::{Value, json};

use crate::helpers::{TestApp, spawn_app};

const BAD_LOGIN: &str = r#"{"error":"Invalid username or password"}"#;
const NO_REFRESH_TOKEN: &str = r#"{"error":"refresh token is required"}"#;
const BAD_REFRESH_TOKEN: &str = r#"{"error":"Invalid refresh token"}"#;
const NO_AUTHORIZATION: &str = r#"{"error":"Authorization header is required"}"#;
const BAD_ACCESS_TOKEN: &str = r#"{"error":"Invalid token"}"#;
const BAD_JSON: &str = r#"{"error":"Invalid JSON"}"#;
const NO_SUCH_METHOD: &str = r#"{"error":"Method not allowed"}"#;
const NOT_FOUND: &str = r#"{"error":"Not found"}"#;

#[tokio::test]
async fn refused_bodies_get_the_status_and_sentence_that_they_always_got() {
    let app = spawn_app().await;
    let table = [
        ("/login", r"{}", 401, BAD_LOGIN),
        ("/login", "", 401, BAD_LOGIN),
        ("/login", "[]", 401, BAD_LOGIN),
        ("/login", r#"{"username":"admin"}"#, 401, BAD_LOGIN),
        ("/login", r#"{"username":"admin","password":"654321"}"#, 401, BAD_LOGIN),
        ("/login", r#"{"username":"nobody","password":"123456"}"#, 401, BAD_LOGIN),
        ("/login", r#"{"username":"admin","password":123456}"#, 401, BAD_LOGIN),
        ("/login", r#"{"username":{"$ne":null},"password":"123456"}"#, 401, BAD_LOGIN),
        ("/login", r#"{"username":"","password":""}"#, 401, BAD_LOGIN),
        ("/login", r#"{"username":"admin""#, 400, BAD_JSON),
        ("/login", "username=admin&password=123456", 400, BAD_JSON),
        ("/login", "null", 400, BAD_JSON),
        ("/login", "7", 400, BAD_JSON),
        ("/refresh", r"{}", 400, NO_REFRESH_TOKEN),
        ("/refresh", "", 400, NO_REFRESH_TOKEN),
        ("/refresh", r#"{"refreshToken":null}"#, 400, NO_REFRESH_TOKEN),
        ("/refresh", r#"{"refreshToken":""}"#, 400, NO_REFRESH_TOKEN),
        ("/refresh", r#"{"refreshToken":false}"#, 400, NO_REFRESH_TOKEN),
        ("/refresh", r#"{"refreshToken":0}"#, 400, NO_REFRESH_TOKEN),
        ("/refresh", r#"{"refreshToken":42}"#, 403, BAD_REFRESH_TOKEN),
        ("/refresh", r#"{"refreshToken":true}"#, 403, BAD_REFRESH_TOKEN),
        ("/refresh", r#"{"refreshToken":["a"]}"#, 403, BAD_REFRESH_TOKEN),
        ("/refresh", r#"{"refreshToken":"garbage"}"#, 403, BAD_REFRESH_TOKEN),
        ("/refresh", r#"{"refreshToken":"eyJhbGciOiJub25lIn0.e30."}"#, 403, BAD_REFRESH_TOKEN),
        ("/refresh", "{", 400, BAD_JSON),
        ("/logout", r"{}", 204, ""),
        ("/logout", "", 204, ""),
        ("/logout", "{", 204, ""),
        ("/logout", r#"{"refreshToken":42}"#, 204, ""),
        ("/logout", r#"{"refreshToken":"garbage"}"#, 204, ""),
        ("/protected", "{}", 405, NO_SUCH_METHOD),
        ("/nowhere", "{}", 404, NOT_FOUND),
    ];
    for (path, body, status, answer) in table {
        let request = app.request(Method::POST, path).header("Content-Type", "application/json");
        let response = request.body(body).send().await.unwrap();
        assert_eq!(response.status(), status, "{path} {body}");
        if path != "/protected" && path != "/nowhere" {
            assert_eq!(response.headers()["cache-control"], "no-store", "{path} {body}");
        }
        assert_eq!(response.text().await.unwrap(), answer, "{path} {body}");
    }
}

#[tokio::test]
async fn a_pair_of_tokens_has_exactly_four_fields() {
    let app = spawn_app().await;
    let login = app.post("/login", &json!({ "username": "user2", "password": "password2" })).await;
    let login = pair(login).await;
    let refreshed = app.post_refresh(login["refreshToken"].as_str().unwrap(), None).await;
    let refreshed = pair(refreshed).await;
    assert_ne!(login["refreshToken"], refreshed["refreshToken"]);
    assert_ne!(login["accessToken"], refreshed["accessToken"]);
}

async fn pair(response: reqwest::Response) -> Value {
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body: Value = response.json().await.unwrap();
    let fields: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["accessToken", "expiresIn", "refreshExpiresIn", "refreshToken"]);
    assert_eq!(body["expiresIn"], json!(900));
    assert_eq!(body["refreshExpiresIn"], json!(604_800));
    body
}

#[tokio::test]
async fn e2_what_is_not_asked_for_is_ignored() {
    let app = spawn_app().await;
    let login = r#"{"username":"admin","password":"123456","remember":true,"nested":{"a":[1]}}"#;
    for content_type in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
        let request = app.request(Method::POST, "/login").body(login);
        // An expired or broken token that a client sends along with everything.
        let request = request.header("Authorization", "Bearer broken");
        let request = match content_type {
            Some(content_type) => request.header("Content-Type", content_type),
            None => request,
        };
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{content_type:?}");
        let body: Value = response.json().await.unwrap();
        let refresh = json!({ "refreshToken": body["refreshToken"], "more": 1 });
        let request = app.request(Method::POST, "/refresh").header("Authorization", "Bearer broken");
        assert_eq!(request.json(&refresh).send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn e5_protected_answers_by_what_authorization_holds() {
    let app = spawn_app().await;
    let access = app.login().await.access;
    let challenge = r#"Bearer realm="authcli""#;
    let refusal = r#"Bearer realm="authcli", error="invalid_token""#;
    let table = [
        (None, 401, NO_AUTHORIZATION, Some(challenge)),
        (Some(String::new()), 401, NO_AUTHORIZATION, Some(challenge)),
        (Some("Bearer".to_owned()), 403, BAD_ACCESS_TOKEN, Some(refusal)),
        (Some("garbage".to_owned()), 403, BAD_ACCESS_TOKEN, Some(refusal)),
        (Some("Bearer garbage".to_owned()), 403, BAD_ACCESS_TOKEN, Some(refusal)),
        (Some("Basic YWRtaW46MTIzNDU2".to_owned()), 403, BAD_ACCESS_TOKEN, Some(refusal)),
        (Some(format!("Token {access}")), 403, BAD_ACCESS_TOKEN, Some(refusal)),
        (Some(format!("Bearer {access}x")), 403, BAD_ACCESS_TOKEN, Some(refusal)),
        (Some(access.clone()), 403, BAD_ACCESS_TOKEN, Some(refusal)),
        (Some(format!("Bearer {access}")), 200, r#"{"message":"Protected resource","userId":1}"#, None),
        (Some(format!("bearer {access}")), 200, r#"{"message":"Protected resource","userId":1}"#, None),
    ];
    for (authorization, status, answer, www_authenticate) in table {
        for method in [Method::GET, Method::HEAD] {
            let request = app.request(method.clone(), "/protected");
            let request = match &authorization {
                Some(value) => request.header("Authorization", value),
                None => request,
            };
            let response = request.send().await.unwrap();
            let case = format!("{method} {authorization:?}");
            assert_eq!(response.status(), status, "{case}");
            let header = response.headers().get("www-authenticate");
            let header = header.map(|value| value.to_str().unwrap());
            assert_eq!(header, www_authenticate, "{case}");
            assert_eq!(response.headers()["content-type"], "application/json", "{case}");
            let answer = if method == Method::HEAD { "" } else { answer };
            assert_eq!(response.text().await.unwrap(), answer, "{case}");
        }
    }
}

#[tokio::test]
async fn e2_a_wrong_method_is_told_the_right_ones() {
    let app = spawn_app().await;
    let table = [
        ("/login", "POST"),
        ("/refresh", "POST"),
        ("/logout", "POST"),
        ("/protected", "GET, HEAD"),
        ("/healthz", "GET, HEAD"),
    ];
    for (path, allow) in table {
        let response = app.request(Method::DELETE, path).send().await.unwrap();
        assert_eq!(response.status(), 405, "{path}");
        assert_eq!(response.headers()["allow"], allow, "{path}");
        assert_eq!(response.text().await.unwrap(), NO_SUCH_METHOD, "{path}");
    }
}

#[tokio::test]
async fn a_body_beyond_all_measure_is_refused_unread() {
    let app = spawn_app().await;
    for path in ["/login", "/refresh", "/logout"] {
        let body = json!({ "refreshToken": "a".repeat(65 * 1024) });
        let response = app.post(path, &body).await;
        assert_eq!(response.status(), 413, "{path}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{path}");
        assert_eq!(response.text().await.unwrap(), r#"{"error":"Request body is too large"}"#);
    }
}

#[tokio::test]
async fn health_is_answered_to_everybody() {
    let app = spawn_app().await;
    for path in ["/healthz", "/readyz"] {
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(app.request(method, path).send().await.unwrap().status(), 200, "{path}");
        }
    }
}

#[tokio::test]
async fn every_answer_has_a_name_of_its_own() {
    let app = spawn_app().await;
    let id = async |path: &str| -> String {
        let response = app.request(Method::GET, path).header("X-Request-Id", "mine").send().await;
        response.unwrap().headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    let ids = [id("/healthz").await, id("/healthz").await, id("/nowhere").await, id("/login").await];
    for (at, one) in ids.iter().enumerate() {
        assert!(one.len() >= 12 && one != "mine", "{one}");
        assert!(!ids[at + 1..].contains(one), "{one}");
    }
}

/// The claims that resource servers rely on.
#[tokio::test]
async fn an_access_token_is_a_signed_jwt_of_the_agreed_shape() {
    let app: TestApp = spawn_app().await;
    let access = app.login().await.access;
    let header = jsonwebtoken::decode_header(&access).unwrap();
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    assert_eq!(header.alg, jsonwebtoken::Algorithm::EdDSA);
    assert!(header.kid.is_some());
    let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(&access).unwrap();
    assert_eq!(claims["sub"], "1");
    assert_eq!(claims["userId"], 1);
    for name in ["iss", "aud", "sid", "jti"] {
        assert!(claims[name].as_str().is_some_and(|text| !text.is_empty()), "{name}");
    }
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert!((900..=901).contains(&life), "{life}");
}
