//! Bodies and headers that no client of ours sends, through the real routes: each gets its answer, and none makes the
//! server fail.

use std::rc::Rc;

use actix_web::http::header::{AUTHORIZATION, HeaderValue};
use actix_web::middleware::from_fn;
use actix_web::test::{self, TestRequest};
use actix_web::web::Data;
use actix_web::{App, http};
use authcli_server::routes::{self, AllowedOrigins, TrustedProxies};
use futures_util::future::LocalBoxFuture;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

use crate::helpers::{TestApp, Tokens, spawn_app};

/// What a client may be told; a fault of the server's is not among it.
const STATUSES: [u16; 7] = [200, 204, 400, 401, 403, 413, 429];

/// The routes as the server has them, called without a connection between, and a session that is open.
struct Routes {
    runtime: Runtime,
    call: Box<dyn Fn(TestRequest) -> LocalBoxFuture<'static, Answer>>,
    tokens: Tokens,
    /// Keeps the database.
    app: TestApp,
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Routes {
    fn new() -> Routes {
        let runtime = Runtime::new().unwrap();
        let (app, tokens, call) = runtime.block_on(async {
            let app = spawn_app().await;
            let tokens = app.login().await;
            let service = App::new()
                .app_data(Data::from(app.auth().await))
                .app_data(Data::new(AllowedOrigins::Any))
                .app_data(Data::new(TrustedProxies::default()))
                .configure(routes::configure)
                .wrap(from_fn(routes::cors))
                .wrap(from_fn(routes::request_log));
            let service = Rc::new(test::init_service(service).await);
            let call = move |request: TestRequest| {
                let service = Rc::clone(&service);
                let answer = async move {
                    let response = test::call_service(&*service, request.to_request()).await;
                    Answer { status: response.status().as_u16(), body: test::read_body(response).await.to_vec() }
                };
                Box::pin(answer) as LocalBoxFuture<'static, Answer>
            };
            (app, tokens, Box::new(call) as Box<_>)
        });
        Routes { runtime, call, tokens, app }
    }

    /// Returns the status of an answer, which must be one of ours, with a sentence where it refuses.
    fn status(&self, request: TestRequest) -> Result<u16, TestCaseError> {
        let Answer { status, body } = self.runtime.block_on((self.call)(request));
        prop_assert!(STATUSES.contains(&status), "{status}");
        if status >= 400 {
            let body: Value = serde_json::from_slice(&body).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert!(body["error"].is_string());
        }
        Ok(status)
    }

    fn post(&self, path: &str, key: Option<&HeaderValue>, body: impl Into<Vec<u8>>) -> Result<u16, TestCaseError> {
        let peer = "127.0.0.1:1".parse().unwrap();
        let request = TestRequest::post().uri(path).peer_addr(peer).set_payload(body.into());
        self.status(match key {
            Some(key) => request.insert_header(("Idempotency-Key", key.clone())),
            None => request,
        })
    }

    /// Expects the session to be as it was at its login.
    fn expect_untouched(&self) {
        self.runtime.block_on(async {
            assert_eq!(self.app.db_value::<i64>("SELECT max(generation) FROM sessions").await, 0);
            assert_eq!(self.app.refresh_status(&self.tokens.refresh, None).await, 200);
        });
    }
}

/// Runs a property as often as `PROPTEST_CASES` says.
fn check<S: Strategy>(strategy: &S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { failure_persistence: None, ..Config::default() };
    match TestRunner::new(config).run(strategy, property) {
        Ok(()) => {}
        Err(TestError::Abort(why)) => panic!("{why}"),
        // A body may be long.
        Err(TestError::Fail(why, input)) => panic!("{why}: {:.1000}", format!("{input:?}")),
    }
}

fn text() -> impl Strategy<Value = String> {
    const KNOWN: [&str; 8] = ["", "admin", "user2", "nobody", "123456", "0", "false", "null"];
    prop_oneof![
        4 => any::<String>(),
        2 => select(KNOWN.as_slice()).prop_map(str::to_owned),
        1 => (0..3000_usize).prop_map(|length| "é".repeat(length)),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select([0.0, -0.0, 1e300].as_slice()).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        let name =
            prop_oneof![select(["username", "password", "refreshToken"].as_slice()).prop_map(str::to_owned), text()];
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((name, inner), 0..6).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A field that is absent, a nearly right string, or any value.
fn field(nearly: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = Option<Value>> {
    prop_oneof![1 => Just(None), 3 => any_json().prop_map(Some), 3 => nearly.prop_map(|text| Some(Value::from(text)))]
}

fn header() -> impl Strategy<Value = HeaderValue> {
    let bytes = prop_oneof![vec(any::<u8>(), 0..200), "[!-~]{14,18}".prop_map(String::into_bytes)];
    bytes.prop_filter_map("no value of a header", |bytes| HeaderValue::from_bytes(&bytes).ok())
}

/// A token whose parts are as they should be, but for one.
fn nearly(token: &str) -> impl Strategy<Value = String> + use<> {
    let parts: Vec<String> = token.split('.').map(ToOwned::to_owned).collect();
    let letter = "[A-Za-z0-9_+/=.-]";
    (any::<Index>(), any::<Index>(), 0..12_u8, letter, any::<u64>()).prop_map(
        move |(part, place, what, letter, number)| {
            let mut parts = parts.clone();
            let at = part.index(parts.len());
            let part = &mut parts[at];
            let place = place.index(part.len());
            match what {
                0 => drop(part.pop()),
                1 => part.push_str(&letter),
                2 => part.push('='),
                3 => *part = part.replace('-', "+").replace('_', "/"),
                // What the last letter says beyond the last byte.
                4 => part.replace_range(part.len() - 1.., &letter),
                5 => part.replace_range(place..=place, &letter),
                6 => *part = part.to_uppercase(),
                7 => *part = base64_of(&number.to_be_bytes()),
                8 => *part = base64_of(&(number | 1 << 63).to_be_bytes()),
                9 => *part = format!(" {part}"),
                10 => drop(parts.remove(at)),
                _ => parts.insert(at, letter),
            }
            parts.join(".")
        },
    )
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// What `/refresh` answers to a token that is none: it is missing where JavaScript takes it for false.
fn refused(token: Option<&Value>) -> u16 {
    match token {
        None | Some(Value::Null | Value::Bool(false)) => 400,
        Some(Value::String(text)) if text.is_empty() => 400,
        Some(Value::Number(number)) if number.as_f64() == Some(0.0) => 400,
        Some(_) => 403,
    }
}

#[test]
fn any_value_in_any_field_gets_its_answer() {
    let routes = Routes::new();
    let genuine = Value::from(routes.tokens.refresh.as_str());
    let fields = (field(text()), field(text()), field(nearly(&routes.tokens.refresh)));
    check(&(fields, option::of(header())), |((username, password, token), key)| {
        let token = token.filter(|token| *token != genuine);
        let named = [("username", &username), ("password", &password), ("refreshToken", &token)];
        let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
        let body = Value::Object(named.collect::<Map<_, _>>()).to_string();
        let key = key.as_ref();
        prop_assert_eq!(routes.post("/refresh", key, body.as_str())?, refused(token.as_ref()));
        prop_assert_eq!(routes.post("/logout", key, body.as_str())?, 204);
        let login = routes.post("/login", key, body.as_str())?;
        let right = username == Some(json!("admin")) && password == Some(json!("123456"));
        prop_assert!([401, 429].contains(&login) || (right && login == 200), "{login}");
        Ok(())
    });
    routes.expect_untouched();
}

#[test]
fn bodies_that_are_cut_changed_or_no_objects_get_their_answer() {
    let routes = Routes::new();
    let cut = |body: Vec<u8>, at: Index| body[..at.index(body.len() + 1)].to_vec();
    let whole = prop_oneof![
        any_json().prop_map(|value| value.to_string().into_bytes()),
        vec(any_json(), 0..3).prop_map(|values| {
            let fields = values.iter().map(|value| format!(r#""refreshToken":{value}"#)).collect::<Vec<_>>();
            format!("{{{}}}", fields.join(",")).into_bytes()
        }),
        (60_000..70_000_usize).prop_map(|length| [vec![b' '; length], b"{}".to_vec()].concat()),
        (1..40_000_usize).prop_map(|depth| "[".repeat(depth).into_bytes()),
    ];
    let bodies = prop_oneof![
        whole.clone(),
        (whole.clone(), any::<Index>()).prop_map(move |(body, at)| cut(body, at)),
        (whole, any::<Index>(), any::<u8>()).prop_map(|(mut body, at, byte)| {
            body.insert(at.index(body.len() + 1), byte);
            body
        }),
    ];
    check(&bodies, |body| {
        let too_large = body.len() > 64 * 1024;
        for path in ["/login", "/refresh", "/logout"] {
            let status = routes.post(path, None, body.clone())?;
            prop_assert_eq!(status == 413, too_large, "{} {}", path, status);
            prop_assert_ne!(status, 200);
        }
        Ok(())
    });
    routes.expect_untouched();
}

#[test]
fn of_all_that_authorization_may_hold_only_the_token_itself_is_let_in() {
    let routes = Routes::new();
    let genuine = routes.tokens.access.clone();
    let scheme = "(?i:bearer)";
    let values = prop_oneof![
        "(?i:bearer) *[ -~]{0,40}".prop_map(String::into_bytes),
        (scheme, " {1,3}", nearly(&genuine))
            .prop_map(|(scheme, blank, token)| [scheme, blank, token].concat().into_bytes()),
        (scheme, " {0,3}", " {0,3}", Just(genuine.clone())).prop_map(|(scheme, blank, after, token)| [
            scheme, blank, token, after
        ]
        .concat()
        .into_bytes()),
        (scheme, vec(any::<u8>(), 0..40)).prop_map(|(scheme, bytes)| [scheme.as_bytes(), b" ", &bytes].concat()),
        " {0,3}".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..40),
    ];
    let value = values.prop_filter_map("no value of a header", |bytes| HeaderValue::from_bytes(&bytes).ok());
    check(&prop_oneof![5 => vec(value.clone(), 1), 2 => vec(value, 0..3)], |values| {
        let words = |value: &HeaderValue| {
            let words = value.as_bytes().split(|byte| *byte == b' ').filter(|word| !word.is_empty());
            words.map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        let expected = match values.as_slice() {
            [] => 401,
            [value] if value.as_bytes().trim_ascii().is_empty() => 401,
            [value] => match words(value).as_slice() {
                [scheme, token] if scheme.eq_ignore_ascii_case(b"bearer") && token == genuine.as_bytes() => 200,
                _ => 403,
            },
            _ => 403,
        };
        for path in ["/protected", "/sessions"] {
            let request = TestRequest::default().method(http::Method::GET).uri(path);
            let request =
                values.iter().fold(request, |request, value| request.append_header((AUTHORIZATION, value.clone())));
            prop_assert_eq!(routes.status(request)?, expected, "{}", path);
        }
        Ok(())
    });
    routes.expect_untouched();
}
