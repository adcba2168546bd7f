//! The sessions of a user: seen and ended by the user itself, and by the operator.

use std::time::Duration;

use authcli_server::domain::{SessionId, UnixMillis, Username};
use authcli_server::ports::{SessionDirectory as _, SessionSelection, SessionStore as _};
use authcli_server::store::{Missing, SqliteStore};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::helpers::{TestApp, Tokens, spawn_app, tokens};

async fn user2(app: &TestApp) -> Tokens {
    tokens(app.post("/login", &json!({ "username": "user2", "password": "password2" })).await).await
}

async fn send(app: &TestApp, method: Method, path: &str, access: &str) -> Response {
    app.request(method, path).bearer_auth(access).send().await.unwrap()
}

async fn list(app: &TestApp, access: &str) -> Vec<Value> {
    let response = send(app, Method::GET, "/sessions", access).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let mut body: Value = response.json().await.unwrap();
    assert_eq!(body.as_object().unwrap().len(), 1);
    serde_json::from_value(body["sessions"].take()).unwrap()
}

async fn delete(app: &TestApp, id: &str, access: &str) -> u16 {
    send(app, Method::DELETE, &format!("/sessions/{id}"), access).await.status().as_u16()
}

fn sid(access: &str) -> String {
    let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(access).unwrap();
    claims["sid"].as_str().unwrap().to_owned()
}

async fn store(app: &TestApp) -> SqliteStore {
    SqliteStore::open(&app.database(), Missing::Refuse).await.unwrap()
}

#[tokio::test]
async fn a_user_sees_the_live_sessions_of_its_own_and_which_one_it_is() {
    let app = spawn_app().await;
    let (one, two, other) = (app.login().await, app.login().await, user2(&app).await);
    let ended = app.login().await;
    assert_eq!(app.post("/logout", &json!({ "refreshToken": ended.refresh })).await.status(), 204);
    let id = sid(&one.access);
    app.db_execute("UPDATE sessions SET created_at = 1700000000123 WHERE user_id = 1").await;
    let sessions = list(&app, &one.access).await;
    assert_eq!(sessions.len(), 2);
    for session in &sessions {
        let fields: Vec<&str> = session.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["createdAt", "current", "expiresAt", "id", "lastRefreshedAt"]);
        assert_eq!(session["createdAt"], "2023-11-14T22:13:20.123Z");
        assert_eq!(session["current"], session["id"] == id.as_str());
        let moment = |name: &str| session[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        let life = moment("expiresAt").duration_since(moment("lastRefreshedAt"));
        assert_eq!(Duration::try_from(life).unwrap(), app.config.lifetimes.refresh);
    }
    assert!(sessions.iter().any(|session| session["id"] == sid(&two.access)));
    assert_eq!(list(&app, &other.access).await.len(), 1);
}

#[tokio::test]
async fn what_a_user_ends_is_over_at_once_and_the_rest_goes_on() {
    let app = spawn_app().await;
    let (mine, lost) = (app.login().await, app.login().await);
    assert_eq!(app.protected_status(&lost.access).await, 200);
    assert_eq!(delete(&app, &sid(&lost.access), &mine.access).await, 204);
    assert_eq!(app.protected_status(&lost.access).await, 403);
    assert_eq!(app.refresh_status(&lost.refresh, None).await, 403);
    assert_eq!(delete(&app, &sid(&lost.access), &mine.access).await, 404, "it is there no more");
    assert_eq!(list(&app, &mine.access).await.len(), 1);
    // Also the one that asks.
    assert_eq!(delete(&app, &sid(&mine.access), &mine.access).await, 204);
    assert_eq!(app.protected_status(&mine.access).await, 403);
}

#[tokio::test]
async fn of_a_session_of_somebody_else_it_says_what_it_says_of_none() {
    let app = spawn_app().await;
    let (mine, other) = (app.login().await, user2(&app).await);
    let nobody = SessionId([7; 16]).to_string();
    for id in [sid(&other.access).as_str(), &nobody, "x", "%00", "..%2F..", &"a".repeat(1000)] {
        let response = send(&app, Method::DELETE, &format!("/sessions/{id}"), &mine.access).await;
        assert_eq!(response.status(), 404, "{id}");
        assert_eq!(response.text().await.unwrap(), r#"{"error":"Not found"}"#, "{id}");
    }
    assert_eq!(app.protected_status(&other.access).await, 200);
    assert_eq!(app.refresh_status(&other.refresh, None).await, 200);
}

#[tokio::test]
async fn they_are_protected_like_everything_that_is() {
    let app = spawn_app().await;
    let id = sid(&app.login().await.access);
    for (method, path) in [(Method::GET, "/sessions".to_owned()), (Method::DELETE, format!("/sessions/{id}"))] {
        let missing = app.request(method.clone(), &path).send().await.unwrap();
        assert_eq!(missing.status(), 401, "{path}");
        assert_eq!(missing.headers()["www-authenticate"], r#"Bearer realm="authcli""#);
        assert_eq!(missing.text().await.unwrap(), r#"{"error":"Authorization header is required"}"#);
        let wrong = send(&app, method.clone(), &path, "garbage").await;
        assert_eq!(wrong.status(), 403, "{path}");
        assert_eq!(wrong.headers()["www-authenticate"], r#"Bearer realm="authcli", error="invalid_token""#);
        assert_eq!(wrong.headers()["access-control-allow-origin"], "*");
    }
    let table = [("/sessions", Method::POST, "GET, HEAD"), ("/sessions/x", Method::GET, "DELETE")];
    for (path, method, allow) in table {
        let response = app.request(method, path).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.headers()["allow"].to_str().unwrap()), (405, allow));
    }
}

/// An id is shown to its user and is in every access token: it must be worth nothing by itself.
#[tokio::test]
async fn the_id_of_a_session_is_no_credential() {
    let app = spawn_app().await;
    let login = app.login().await;
    let id = sid(&login.access);
    assert!(login.refresh.starts_with(&format!("acrt.1.{id}.")), "the same id, with a tag that nobody can guess");
    let parts: Vec<&str> = login.refresh.split('.').collect();
    let no_tag = "A".repeat(43);
    let next = "AAAAAAAAAAE";
    let attempts = [
        id.clone(),
        format!("acrt.1.{id}"),
        format!("acrt.1.{id}.{}", parts[3]),
        format!("acrt.1.{id}.{}.", parts[3]),
        format!("acrt.1.{id}.{}.{no_tag}", parts[3]),
        format!("acrt.1.{id}.{next}.{no_tag}"),
        format!("acrt.1.{id}.{next}.{}", parts[4]),
    ];
    let before = app.db_session_row().await;
    for attempt in attempts {
        assert_eq!(app.refresh_status(&attempt, None).await, 403, "{attempt}");
        assert_eq!(app.post("/logout", &json!({ "refreshToken": attempt })).await.status(), 204);
        assert_eq!(app.protected_status(&attempt).await, 403, "{attempt}");
        assert_eq!(send(&app, Method::GET, "/sessions", &attempt).await.status(), 403, "{attempt}");
    }
    assert_eq!(app.db_session_row().await, before, "not one of them changed anything");
    assert_eq!(app.refresh_status(&login.refresh, None).await, 200);
}

#[tokio::test]
async fn the_operator_revokes_what_all_conditions_hold_for_and_learns_how_many() {
    let app = spawn_app().await;
    let store = store(&app).await;
    let user = |name: &str| Some(Username::parse(name).unwrap());
    let (first, second, other) = (app.login().await, app.login().await, user2(&app).await);
    let revoke = async |selection: SessionSelection| store.revoke_sessions(&selection).await.unwrap();
    let before = |millis| Some(UnixMillis(millis));
    let id = |tokens: &Tokens| SessionId::parse(&sid(&tokens.access));
    let none = SessionSelection::default;

    assert_eq!(revoke(SessionSelection { opened_before: before(1), ..none() }).await, 0);
    assert_eq!(revoke(SessionSelection { id: Some(SessionId([7; 16])), ..none() }).await, 0);
    assert_eq!(revoke(SessionSelection { user: user("nobody"), ..none() }).await, 0);
    assert_eq!(revoke(SessionSelection { user: user("user2"), id: id(&first), ..none() }).await, 0);
    assert_eq!(revoke(SessionSelection { id: id(&first), ..none() }).await, 1);
    assert_eq!(revoke(SessionSelection { id: id(&first), ..none() }).await, 0, "it is over already");
    assert_eq!(revoke(SessionSelection { user: user("admin"), ..none() }).await, 1);
    assert_eq!(revoke(SessionSelection { user: user("admin"), ..none() }).await, 0);
    assert_eq!(revoke(SessionSelection { opened_before: before(i64::MAX), ..none() }).await, 1);
    for tokens in [&first, &second, &other] {
        assert_eq!(app.refresh_status(&tokens.refresh, None).await, 403);
    }
    let row = store.session(id(&first).unwrap()).await.unwrap().unwrap();
    assert!(row.state.revoked);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_revoked_beside_a_running_server() {
    use crate::program::{Place, Program, finish, refused};

    let place = Place::new();
    let database = place.database("a.db");
    let mut command = place.command(&["serve", "--demo", "--listen", "127.0.0.1:0", "--access-ttl", "15m"]);
    command.args(["--database", &database]);
    let server = Program::start(command);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post =
        async |path: &str, body: &Value| client.post(format!("{}{path}", server.url)).json(body).send().await.unwrap();
    let body = json!({ "username": "admin", "password": "123456" });
    let revoke = |arguments: &[&str]| {
        let arguments: Vec<&str> =
            ["sessions", "revoke", "--database", &database].iter().chain(arguments).copied().collect();
        place.run(&arguments)
    };
    let said = |arguments: &[&str]| {
        let output = revoke(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(said(&["--user", "admin"]), "0 sessions revoked\n");
    let login = tokens(post("/login", &body).await).await;
    tokens(post("/login", &body).await).await;
    assert_eq!(said(&["--before", "2020-01-01T00:00:00Z"]), "0 sessions revoked\n");
    assert_eq!(said(&[&format!("--id={}", sid(&login.access))]), "1 session revoked\n");
    assert_eq!(post("/refresh", &json!({ "refreshToken": login.refresh })).await.status(), 403);
    tokens(post("/login", &body).await).await;
    assert_eq!(said(&["--user", "admin", "--before", "2999-01-01T00:00:00Z"]), "2 sessions revoked\n");

    // A variable that was set for another command narrows this one: what is applied is said.
    let mut narrowed =
        place.command(&["sessions", "revoke", "--database", &database, "--before", "2026-01-31T12:00:00Z"]);
    let narrowed = finish(narrowed.env("AUTHCLI_SERVER_USER", "user2").spawn().unwrap());
    let said = String::from_utf8(narrowed.stderr).unwrap();
    let conditions = "Revoking the sessions that are of the user `user2` and opened before 2026-01-31T12:00:00Z\n";
    assert_eq!((said.as_str(), narrowed.stdout.as_slice()), (conditions, &b"0 sessions revoked\n"[..]));

    assert!(refused(&revoke(&["--user", "nobody"]), 1).contains("there is no user `nobody`"));
    let wrong: [(&[&str], &str); 4] = [
        (&[], "--user <NAME>|--id <ID>|--before <TIME>"),
        (&["--id", "x"], "22 letters of base64url"),
        (&["--before", "yesterday"], "--before"),
        (&["--user", " x"], "does not begin or end"),
    ];
    for (arguments, sentence) in wrong {
        let stderr = refused(&revoke(arguments), 2);
        assert!(stderr.contains(sentence), "{arguments:?}: {stderr}");
    }
}
