//! What the log says: enough to find a request in it, and nothing that a thief of the log could use.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::program::{Place, Program, finish};

const DEMO: [&str; 5] = ["serve", "--demo", "--listen", "127.0.0.1:0", "--access-ttl=1h"];

/// Starts a server; its database goes with the place.
fn start(filter: &str) -> (Place, Program) {
    let place = Place::new();
    let mut command = place.command(&DEMO);
    command.env("AUTHCLI_SERVER_LOG", filter);
    let server = Program::start(command);
    (place, server)
}

async fn send(server: &Program, method: Method, path: &str, bearer: Option<&str>, body: &Value) -> Response {
    let client = Client::builder().no_proxy().build().unwrap();
    let request = client.request(method, format!("{}{path}", server.url)).header("X-Request-Id", "mine").json(body);
    let request = match bearer {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    request.send().await.unwrap()
}

fn id(response: &Response) -> String {
    response.headers()["x-request-id"].to_str().unwrap().to_owned()
}

async fn login(server: &Program) -> Value {
    let body = json!({ "username": "admin", "password": "123456" });
    send(server, Method::POST, "/login", None, &body).await.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_has_one_line_with_the_id_of_its_answer() {
    let (_place, server) = start("");
    let too_much = json!("a".repeat(65 * 1024));
    let table = [
        (Method::GET, "/healthz", Value::Null, "GET /healthz 200 "),
        (Method::POST, "/login", json!({ "username": "admin", "password": "123456" }), "POST /login 200 "),
        (Method::POST, "/login", json!({ "username": "admin", "password": "wrong" }), "POST /login 401 "),
        (Method::POST, "/refresh", json!({}), "POST /refresh 400 "),
        (Method::POST, "/refresh", too_much, "POST /refresh 413 "),
        (Method::GET, "/protected", Value::Null, "GET /protected 401 "),
        (Method::DELETE, "/sessions/abc", Value::Null, "DELETE /sessions/{id} 401 "),
        (Method::GET, "/login", Value::Null, "GET /login 405 "),
        (Method::OPTIONS, "/login", Value::Null, "OPTIONS /login 204 "),
        (Method::GET, "/nowhere", Value::Null, "GET (no such path) 404 "),
    ];
    let mut expected = Vec::new();
    for (method, path, body, line) in table {
        let response = send(&server, method, path, None, &body).await;
        expected.push((id(&response), line));
    }
    let log = server.stop().stderr;
    assert_eq!(log.lines().count(), expected.len(), "{log}");
    for (line, (id, what)) in log.lines().zip(expected) {
        assert!(line.contains(&format!("request{{id={id}}}")) && line.contains(what), "{id}, {what}: {line}");
    }
    assert!(!log.contains("mine"), "{log}");
}

/// Also where the log is kept to warnings, the operator can find the request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_events_are_warnings_with_the_id_of_the_answer() {
    let (_place, server) = start("warn");
    let used = login(&server).await;
    let client = Client::builder().no_proxy().build().unwrap();
    let refresh = client.post(format!("{}/refresh", server.url)).header("Idempotency-Key", "a-key-of-its-owner");
    assert_eq!(refresh.json(&used).send().await.unwrap().status(), 200);
    let reuse = send(&server, Method::POST, "/refresh", None, &used).await;
    assert_eq!(reuse.status(), 403);
    let again = send(&server, Method::POST, "/refresh", None, &used).await;
    assert_eq!(again.status(), 403);

    let other = login(&server).await;
    let access = other["accessToken"].as_str().unwrap();
    let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(access).unwrap();
    let path = format!("/sessions/{}", claims["sid"].as_str().unwrap());
    let revoked = send(&server, Method::DELETE, &path, Some(access), &Value::Null).await;
    assert_eq!(revoked.status(), 204);

    let log = server.stop().stderr;
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 2, "{log}");
    for (line, (response, what)) in lines.iter().zip([(reuse, "refresh token reuse"), (revoked, "session revoked")]) {
        assert!(line.contains(" WARN ") && line.contains(what), "{line}");
        assert!(line.contains(&format!("request{{id={}}}", id(&response))), "{line}");
    }
}

/// Who looks for a revocation afterwards finds it: with the numbers of users, whose names could be typed passwords.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_operators_end_is_a_warning_with_its_count() {
    let place = Place::new();
    let database = place.database("a.db");
    let mut command = place.command(&DEMO);
    command.args(["--database", &database]);
    let server = Program::start(command);
    let warnings = |arguments: &[&str]| {
        let mut command = place.command(&[arguments, &["--database", &database]].concat());
        let mut child = command.env("AUTHCLI_SERVER_LOG", "warn").stdin(Stdio::piped()).spawn().unwrap();
        // Whoever reads no password may have gone.
        let _ = child.stdin.take().unwrap().write_all(b"another-secret");
        let ended = finish(child);
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(0), "{stderr}");
        let lines = stderr.lines().filter(|line| line.contains(" WARN "));
        lines.map(|line| line.split_once(" WARN ").unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    login(&server).await;
    let one = login(&server).await;
    let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(one["accessToken"].as_str().unwrap()).unwrap();
    let sid = claims["sid"].as_str().unwrap();
    assert_eq!(
        warnings(&["sessions", "revoke", "--before=2999-01-01T00:00:00Z", &format!("--id={sid}")]),
        [format!("sessions revoked by the operator count=1 session={sid} opened_before=\"2999-01-01T00:00:00Z\"")]
    );
    let by_user = ["sessions", "revoke", "--user", "admin"];
    assert_eq!(warnings(&by_user), ["sessions revoked by the operator count=1 user_id=1"]);
    assert_eq!(warnings(&by_user), [""; 0], "nothing was revoked");
    login(&server).await;
    let warning =
        |what: &str, count: u32| format!("{what} and sessions revoked by the operator user_id=1 count={count}");
    let password = ["user", "password", "admin", "--password-stdin"];
    assert_eq!(warnings(&password), [warning("password changed", 1)]);
    assert_eq!(warnings(&["user", "disable", "admin"]), [warning("user disabled", 0)]);
    assert_eq!(warnings(&["user", "remove", "admin"]), [warning("user removed", 0)]);
}

/// Of a thief who is two steps ahead of the owner there is no other sign.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_that_comes_late_once_more_is_a_warning() {
    let (_place, server) = start("warn");
    let client = Client::builder().no_proxy().build().unwrap();
    let refresh = async |pair: &Value, key: &str| {
        let refresh = client.post(format!("{}/refresh", server.url)).header("Idempotency-Key", key);
        refresh.json(pair).send().await.unwrap()
    };
    let first = login(&server).await;
    let second: Value = refresh(&first, "the-first-key-of-its-owner").await.json().await.unwrap();
    assert_eq!(refresh(&second, "the-second-key-of-its-owner").await.status(), 200);
    let late = refresh(&first, "the-first-key-of-its-owner").await;
    assert_eq!(late.status(), 403);
    let log = server.stop().stderr;
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains(" WARN ") && log.contains("has arrived once more"), "{log}");
    assert!(log.contains(&format!("request{{id={}}}", id(&late))), "{log}");
}

/// Tokens in the wrong places: nobody should send them so, and somebody does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_in_the_wrong_place_is_not_logged_either() {
    let (_place, server) = start("trace");
    let pair = login(&server).await;
    let (access, refresh) = (pair["accessToken"].as_str().unwrap(), pair["refreshToken"].as_str().unwrap());
    for path in [
        format!("/refresh/{refresh}"),
        format!("/refresh?refreshToken={refresh}"),
        format!("/protected?access_token={access}"),
        format!("/sessions/{refresh}"),
        format!("/{access}"),
    ] {
        send(&server, Method::GET, &path, None, &Value::Null).await;
        send(&server, Method::DELETE, &path, Some(access), &Value::Null).await;
        send(&server, Method::OPTIONS, &path, Some(refresh), &Value::Null).await;
    }
    let swapped = json!({ "username": "123456", "password": refresh, "refreshToken": access });
    send(&server, Method::POST, "/login", Some(refresh), &swapped).await;
    send(&server, Method::POST, "/refresh", Some(refresh), &swapped).await;
    send(&server, Method::POST, "/logout", Some(refresh), &swapped).await;
    // As a method, a version, a name of a header: not all of this is HTTP.
    let address = server.url.strip_prefix("http://").unwrap();
    for request in [
        format!("{refresh} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        format!("GET / {refresh}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {refresh}\r\n{refresh}: {access}\r\nConnection: close\r\n\r\n"),
        format!("GET /\t{refresh} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
    ] {
        let mut connection = TcpStream::connect(address).unwrap();
        connection.write_all(request.as_bytes()).unwrap();
        let _ = connection.read(&mut [0; 512]).unwrap();
    }
    let log = server.stop().stderr;
    assert!(log.contains("(odd method) (no such path) 404"), "{log}");
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    for secret in ["123456", &signature(access), &signature(refresh)] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}
