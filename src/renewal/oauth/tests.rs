//! What the requests say, and what the answers come to.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oauth2::{PkceCodeVerifier, RedirectUrl};
use reqwest::{Method, Request};
use serde_json::json;

use super::*;
use crate::renewal::answer::tests::answer;
use crate::token::ClientAuthentication;

pub(super) fn client() -> OauthClient {
    OauthClient {
        id: "cli".into(),
        secret: None,
        authentication: ClientAuthentication::None,
        renewed_by: RenewedBy::RefreshToken,
    }
}

pub(super) fn metadata(names_issuer: bool) -> Metadata {
    let document = json!({
        "issuer": "https://h",
        "authorization_endpoint": "https://h/authorize",
        "token_endpoint": "https://h/token",
        "authorization_response_iss_parameter_supported": names_issuer,
    });
    Metadata::of(&Issuer::parse("https://h").unwrap(), serde_json::from_value(document).unwrap()).unwrap()
}

fn confidential(id: &str, secret: &str, authentication: ClientAuthentication) -> OauthClient {
    OauthClient { id: id.into(), secret: Some(Secret::new(secret)), authentication, ..client() }
}

fn endpoint() -> Url {
    Url::parse("http://127.0.0.1:9/token?tenant=1").unwrap()
}

/// Returns the fields of a form, each of which stands there once.
fn form(request: &Request) -> BTreeMap<String, String> {
    assert_eq!((request.method(), request.url()), (&Method::POST, &endpoint()));
    assert_eq!(request.headers()["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(request.headers()["accept"], "application/json");
    let body = request.body().unwrap().as_bytes().unwrap();
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(body).into_owned().collect();
    let fields: BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(fields.len(), pairs.len(), "{pairs:?}");
    fields
}

fn fields<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

#[test]
fn every_request_has_the_standards_fields_and_no_others() {
    let pen = Pen::new(&client());
    let token = Secret::new("t&=1");
    let verifier = PkceCodeVerifier::new("v".repeat(43));
    let redirect_uri = RedirectUrl::new("http://127.0.0.1:1/callback".into()).unwrap();
    let scopes = ["a".to_owned(), "b".to_owned()];

    let refresh = pen.refresh(&endpoint(), &token);
    let expected = [("client_id", "cli"), ("grant_type", "refresh_token"), ("refresh_token", "t&=1")];
    assert_eq!(form(&refresh), fields(expected));

    let code = pen.code(&endpoint(), &Secret::new("c"), &verifier, &redirect_uri);
    let expected = [
        ("client_id", "cli"),
        ("code", "c"),
        ("code_verifier", verifier.secret()),
        ("grant_type", "authorization_code"),
        ("redirect_uri", "http://127.0.0.1:1/callback"),
    ];
    assert_eq!(form(&code), fields(expected));

    let credentials = pen.client_credentials(&endpoint(), &scopes, Some("api"));
    let expected = [("audience", "api"), ("client_id", "cli"), ("grant_type", "client_credentials"), ("scope", "a b")];
    assert_eq!(form(&credentials), fields(expected));

    let device = pen.device_authorization(&endpoint(), &scopes, None);
    assert_eq!(form(&device), fields([("client_id", "cli"), ("scope", "a b")]));

    let details = json!({"device_code": "d", "user_code": "u", "verification_uri": "https://h", "expires_in": 1});
    let poll = pen.device_token(&endpoint(), &serde_json::from_value(details).unwrap());
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    assert_eq!(form(&poll), fields([("client_id", "cli"), ("device_code", "d"), ("grant_type", grant)]));

    for (kind, hint) in [(Kind::Access, "access_token"), (Kind::Refresh, "refresh_token")] {
        let revocation = pen.revocation(&endpoint(), &token, kind);
        let expected = [("client_id", "cli"), ("token", "t&=1"), ("token_type_hint", hint)];
        assert_eq!(form(&revocation), fields(expected));
    }
}

#[test]
fn a_secret_travels_in_a_header_or_in_the_form_and_never_in_both() {
    let token = Secret::new("t");
    let basic = Pen::new(&confidential("a:b", "s%c d", ClientAuthentication::Basic)).refresh(&endpoint(), &token);
    // Each form-encoded by itself (RFC 6749 section 2.3.1).
    let expected = format!("Basic {}", STANDARD.encode("a%3Ab:s%25c+d"));
    assert_eq!(basic.headers()["authorization"], expected.as_str());
    assert_eq!(form(&basic), fields([("grant_type", "refresh_token"), ("refresh_token", "t")]));

    let post = Pen::new(&confidential("a:b", "s%c d", ClientAuthentication::Post)).refresh(&endpoint(), &token);
    assert!(!post.headers().contains_key("authorization"));
    let expected =
        [("client_id", "a:b"), ("client_secret", "s%c d"), ("grant_type", "refresh_token"), ("refresh_token", "t")];
    assert_eq!(form(&post), fields(expected));
}

fn verdict(status: u16, body: &str) -> &'static str {
    match tokens::judge(&answer(status, body), &["canary"], true) {
        Verdict::Tokens(_) => "tokens",
        Verdict::Refused(_) => "refused",
        Verdict::Again(..) => "again",
        Verdict::NotNow(..) => "not now",
        Verdict::Misconfigured(_) => "misconfigured",
    }
}

#[test]
fn only_invalid_grant_ends_a_session() {
    for status in [400, 401, 403] {
        assert_eq!(verdict(status, r#"{"error":"invalid_grant"}"#), "refused");
        for code in
            ["invalid_request", "invalid_client", "unauthorized_client", "invalid_scope", "interaction_required"]
        {
            assert_eq!(verdict(status, &json!({"error": code}).to_string()), "misconfigured", "{code}");
        }
        for code in ["server_error", "temporarily_unavailable", "slow_down"] {
            assert_eq!(verdict(status, &json!({"error": code}).to_string()), "not now", "{code}");
        }
        for body in ["<html>invalid_grant</html>", "", "{}", r#"{"error":null}"#, r#"["invalid_grant"]"#] {
            assert_eq!(verdict(status, body), "not now", "{body}");
        }
        assert_eq!(verdict(status, r#"{"error":{"code":"invalid_grant"}}"#), "misconfigured");
    }
    for (status, body, expected) in [
        (500, r#"{"error":"invalid_grant"}"#, "again"),
        (503, "", "again"),
        (429, "", "not now"),
        (404, r#"{"error":"invalid_grant"}"#, "not now"),
        (302, "", "not now"),
        (200, "<html>", "again"),
        (200, r#"{"access_token":"a"}"#, "tokens"),
        (200, r#"{"access_token":"a","error":"invalid_grant"}"#, "tokens"),
        (200, r#"{"error":"invalid_grant"}"#, "refused"),
        (200, r#"{"error":"incorrect_client_credentials"}"#, "misconfigured"),
        (200, r#"{"error":"temporarily_unavailable"}"#, "not now"),
        (200, r#"{"error":""}"#, "again"),
    ] {
        assert_eq!(verdict(status, body), expected, "{status} {body}");
    }
    // There is no grant that could be invalid: only somebody who changed the client's registration.
    let as_client = tokens::judge(&answer(400, r#"{"error":"invalid_grant"}"#), &[], false);
    assert!(matches!(as_client, Verdict::Misconfigured(_)));
}

#[test]
fn tokens_are_taken_however_servers_write_them() {
    for (fields, lifetime, has_refresh_token) in [
        (r#""token_type":"BEARER","expires_in":2,"refresh_token":"r""#, Some(2), true),
        (r#""token_type":"bearer","expires_in":"2""#, Some(2), false),
        (r#""expires_in":-1,"refresh_token":null,"scope":"other than asked""#, None, false),
        (r#""expires_in":1e400"#, None, false),
        (r#""expires_in":"soon","refresh_token":"""#, None, false),
        (r#""token_type":17,"id_token":{}"#, None, false),
    ] {
        let granted = Granted::of(&answer(200, &format!("{{\"access_token\":\"a\",{fields}}}")));
        // JSON knows no number as large as that.
        if fields.contains("1e400") {
            assert!(granted.is_err());
            continue;
        }
        let issued = granted.unwrap().into_bearer("https://h").unwrap().issued;
        assert_eq!(issued.access_lifetime.duration().map(|life| life.as_secs()), lifetime, "{fields}");
        assert_eq!(issued.refresh_token.is_some(), has_refresh_token, "{fields}");
    }
    let huge = Granted::of(&answer(200, r#"{"access_token":"a","expires_in":1e300}"#)).unwrap();
    assert!(huge.issued.access_lifetime.duration().unwrap() > Duration::from_hours(24 * 365));
    let other = Granted::of(&answer(200, r#"{"access_token":"a","token_type":"DPoP"}"#)).unwrap();
    assert!(matches!(other.into_bearer("https://h"), Err(OauthError::OtherTokenType { .. })));
}

#[test]
fn nonsense_is_named_by_its_keys_and_never_by_its_values() {
    for (body, expected) in [
        ("<html>canary</html>", "a body that is not JSON"),
        ("[\"canary\"]", "JSON that is not an object"),
        ("{\"token\":\"canary\"}", "its keys: token"),
        ("{\"access_token\":{\"x\":\"canary\"}}", "its keys: access_token"),
        ("{\"access_token\":\"canary\\r\\nX: y\"}", "no header can carry"),
    ] {
        let error = Granted::of(&answer(200, body)).unwrap_err().to_string();
        assert!(error.contains(expected), "{body}: {error}");
        assert!(!error.contains("canary"), "{error}");
    }
}

#[test]
fn a_refusal_is_told_in_the_servers_words_without_its_tricks() {
    let body = r#"{"error":"invalid_grant","error_description":"no\u001b[31m\nway"}"#;
    let error = tokens::refused(&answer(400, body), "https://h", &[]).to_string();
    assert_eq!(error, "https://h refused the login: invalid_grant: no[31mway");
    let echo = r#"{"error":"invalid_grant","error_description":"your token canary is old"}"#;
    let error = tokens::refused(&answer(400, echo), "https://h", &["canary"]).to_string();
    assert_eq!(error, "https://h refused the login: invalid_grant");
    let keys: serde_json::Map<_, _> = (0..1000).map(|number| (format!("k{number:03}"), json!(0))).collect();
    let many = Granted::of(&answer(200, &serde_json::to_string(&keys).unwrap())).unwrap_err().to_string();
    assert!(many.contains("k023, …)") && !many.contains("k024"), "{many}");
    let html = tokens::refused(&answer(400, "<html>canary"), "https://h", &[]).to_string();
    assert!(!html.contains("canary"), "{html}");
}
