//! Items of the security checklist (docs/SECURITY-MODEL.md) that no other test shows, each named after its item.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use authcli_server::auth::RefreshError;
use authcli_server::domain::AttemptKey;
use authcli_server::password::{PasswordCost, Room};
use futures_util::future::join_all;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::ends::PROMISE;
use crate::helpers::{Backend, TestApp, by, on_both_stores, spawn_app, spawn_app_on, spawn_app_with};
use crate::program::{Place, Program};
use crate::warnings;

on_both_stores!(
    r4_a_theft_ends_the_session_on_all_servers_with_one_warning,
    r12_a_hundred_thousand_replays_of_a_stale_token_write_nothing,
);

const OWNERS_KEY: &str = "an-attempt-key-of-its-owner";
const NEXT_KEY: &str = "the-next-key-of-the-owner";
const THIEFS_KEY: &str = "an-attempt-key-of-a-thief";

async fn post(server: &Program, path: &str, key: &str, body: &Value) -> (u16, Value) {
    let client = Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("{}{path}", server.url)).header("Idempotency-Key", key).json(body);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
}

async fn protected(server: &Program, pair: &Value) -> u16 {
    let client = Client::builder().no_proxy().build().unwrap();
    let request = client.get(format!("{}/protected", server.url)).bearer_auth(pair["accessToken"].as_str().unwrap());
    request.send().await.unwrap().status().as_u16()
}

async fn r4_a_theft_ends_the_session_on_all_servers_with_one_warning(backend: Backend) {
    let place = Place::new();
    let database = place.database_on(backend).await;
    let start = || {
        let arguments = ["serve", "--demo", "--listen", "127.0.0.1:0", "--access-ttl", "1h", "--database", &database];
        Program::start(place.command(&arguments))
    };
    let servers = [start(), start()];
    let login = json!({ "username": "admin", "password": "123456" });
    let (_, used) = post(&servers[0], "/login", OWNERS_KEY, &login).await;
    let (_, other) = post(&servers[1], "/login", OWNERS_KEY, &login).await;
    let (status, newest) = post(&servers[1], "/refresh", OWNERS_KEY, &used).await;
    assert_eq!(status, 200);
    for server in &servers {
        assert_eq!(protected(server, &newest).await, 200);
    }

    let thieves = (0..32).map(|at| post(&servers[at % 2], "/refresh", THIEFS_KEY, &used));
    for (status, _) in join_all(thieves).await {
        assert_eq!(status, 403);
    }
    let moment = Instant::now() + PROMISE;
    for server in &servers {
        assert_eq!(post(server, "/refresh", NEXT_KEY, &newest).await.0, 403);
        by(moment, "an access token refused everywhere", async || protected(server, &newest).await == 403).await;
        assert_eq!(protected(server, &other).await, 200, "another login of the user's");
    }
    let logs: String = servers.map(|server| server.stop().stderr).concat();
    assert_eq!(logs.matches("refresh token reuse").count(), 1, "{logs}");
}

/// Token and key together are all that a client has. With them a thief gets the successor that the owner gets: one. Which
/// of the two comes first, and which of them refreshes after that, does not matter.
#[tokio::test]
async fn r4_a_thief_with_token_and_key_is_found_out_once_the_two_part() {
    for keys in [[NEXT_KEY, THIEFS_KEY], [THIEFS_KEY, NEXT_KEY]] {
        let app = spawn_app().await;
        let copied = app.login().await.refresh;
        let [thief, owner] =
            [app.refresh(&copied, Some(OWNERS_KEY)).await, app.refresh(&copied, Some(OWNERS_KEY)).await];
        assert_eq!(thief.refresh, owner.refresh, "no second successor");
        let first = app.refresh(&owner.refresh, Some(keys[0])).await;
        assert_eq!(app.refresh_status(&owner.refresh, Some(keys[1])).await, 403);
        assert_eq!(app.db_session::<String>("revoked_reason").await, "reuse");
        assert_eq!(app.refresh_status(&first.refresh, Some(keys[0])).await, 403);
        for tokens in [thief, owner, first] {
            assert_eq!(app.protected_status(&tokens.access).await, 403);
        }
    }
}

/// What is not promised: the owner's own attempt, late, says nothing of a thief. The owner is refused, and can end the session
/// with the token that was refused.
#[tokio::test]
async fn r4_a_thief_with_token_and_key_who_is_two_steps_ahead_is_ended_by_a_logout_alone() {
    let app = spawn_app().await;
    let copied = app.login().await.refresh;
    let thief = app.refresh(&copied, Some(OWNERS_KEY)).await;
    let thief = app.refresh(&thief.refresh, Some(THIEFS_KEY)).await;
    assert_eq!(app.refresh_status(&copied, Some(OWNERS_KEY)).await, 403);
    assert_eq!(app.protected_status(&thief.access).await, 200);
    assert_eq!(app.post("/logout", &json!({ "refreshToken": copied })).await.status(), 204);
    assert_eq!(app.protected_status(&thief.access).await, 403);
    assert_eq!(app.refresh_status(&thief.refresh, Some(NEXT_KEY)).await, 403);
}

/// Asked without HTTP between, which would take most of the time.
async fn r12_a_hundred_thousand_replays_of_a_stale_token_write_nothing(backend: Backend) {
    const REPLAYS: usize = 100_000;
    const TASKS: usize = 8;
    warnings::collect();
    let app = spawn_app_on(backend, |_| {}).await;
    let stale = app.login().await.refresh;
    let session = stale.split('.').nth(2).unwrap();
    app.refresh(&stale, Some(OWNERS_KEY)).await;
    assert_eq!(warnings::about(session), [""; 0]);
    assert_eq!(app.refresh_status(&stale, Some(THIEFS_KEY)).await, 403);
    let auth = app.auth().await;
    // What the login left is forgotten now, and not by the server's own sweep in between.
    app.store().await.sweep_attempts(1000).await.unwrap();
    let before = footprint(&app, backend).await;
    let tasks = (0..TASKS).map(|_| {
        let (auth, stale) = (Arc::clone(&auth), stale.clone());
        tokio::spawn(async move {
            for _ in 0..REPLAYS / TASKS {
                let key = AttemptKey::parse(THIEFS_KEY.as_bytes());
                let answer = auth.refresh(&stale, key).await;
                assert!(matches!(answer, Err(RefreshError::Refused)), "{answer:?}");
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    let after = footprint(&app, backend).await;
    assert_eq!((after.row, after.rows, after.place), (before.row, before.rows, before.place));
    let warned = warnings::about(session);
    assert!(warned.len() == 1 && warned[0].contains("refresh token reuse: session revoked"), "{warned:?}");
    // The server beside it sweeps once a minute, which may write a page; each replay would write one.
    assert!(after.length - before.length < 1024 * 1024, "{} bytes", after.length - before.length);
}

/// What a write would change.
struct Footprint {
    row: String,
    /// Of each table how many there are.
    rows: BTreeMap<String, i64>,
    /// Where PostgreSQL keeps the row: each change of it is another place.
    place: String,
    /// How long SQLite's files are.
    length: u64,
}

async fn footprint(app: &TestApp, backend: Backend) -> Footprint {
    let row = app.db_session_row().await;
    let tables = match backend {
        Backend::Sqlite => "SELECT group_concat(name) FROM sqlite_master WHERE type = 'table'",
        Backend::Postgres => "SELECT string_agg(tablename::text, ',') FROM pg_tables WHERE schemaname = 'public'",
    };
    let mut rows = BTreeMap::new();
    for table in app.db_value::<String>(tables).await.split(',') {
        rows.insert(table.to_owned(), app.db_value(&format!("SELECT count(*) FROM {table}")).await);
    }
    let (place, length) = match backend {
        Backend::Sqlite => {
            let length = |end: &str| {
                let name = format!("{}{end}", app.database().display());
                std::fs::metadata(name).unwrap().len()
            };
            (String::new(), length("") + length("-wal"))
        }
        Backend::Postgres => (app.db_session("xmin::text || ctid::text").await, 0),
    };
    Footprint { row, rows, place, length }
}

#[tokio::test]
async fn e1_what_is_no_answer_of_a_token_route_is_not_kept_either() {
    let app = spawn_app().await;
    for path in ["/login", "/refresh", "/logout", "/sessions"] {
        for method in [Method::GET, Method::PUT, Method::OPTIONS, Method::TRACE] {
            let response = app.request(method.clone(), path).send().await.unwrap();
            assert_eq!(response.headers()["cache-control"], "no-store", "{method} {path}");
        }
    }
}

/// RFC 7009: a token that is none of ours is no error, and ends nothing.
#[tokio::test]
async fn e3_a_logout_of_junk_is_no_error_and_ends_nothing() {
    let app = spawn_app().await;
    let tokens = app.login().await;
    let forged = format!("{}A", &tokens.refresh[..tokens.refresh.len() - 1]);
    let forged = if forged == tokens.refresh { forged.replace('A', "E") } else { forged };
    for junk in [json!("garbage"), json!(forged), json!(tokens.access), json!(null), json!(7), json!(["a"])] {
        assert_eq!(app.post("/logout", &json!({ "refreshToken": junk })).await.status(), 204, "{junk}");
    }
    assert_eq!(app.protected_status(&tokens.access).await, 200);
    assert_eq!(app.refresh_status(&tokens.refresh, Some(OWNERS_KEY)).await, 200);
}

/// A real hash is made for a name that nobody has: as with a wrong password, it holds the one place that there is for as
/// long, and whoever comes meanwhile is turned away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e6_an_unknown_name_is_answered_like_a_wrong_password_after_a_hash_of_the_same_cost() {
    const SLOW: PasswordCost = PasswordCost { memory_kib: 8 * 1024, passes: 150 };
    let app = spawn_app_with(|config| {
        (config.password_cost, config.password_room) = (SLOW, Room { at_once: 1, waiting: 0 });
    });
    let app = app.await;
    for name in ["admin", "nobody", "\u{7f}no name at all"] {
        let body = json!({ "username": name, "password": "wrong" });
        let answers = join_all((0..6).map(|_| app.post("/login", &body))).await;
        let mut heard = Vec::new();
        for answer in answers {
            if answer.status() != 503 {
                heard.push((answer.status().as_u16(), answer.text().await.unwrap()));
            }
        }
        assert_eq!(heard, [(401, r#"{"error":"Invalid username or password"}"#.to_owned())], "{name}");
    }
}

/// Heads that come a letter at a time, or never come to an end, hold up nobody and are cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e9_heads_that_never_end_hold_up_nobody_and_are_cut_off() {
    const SLOW: usize = 100;
    let app = spawn_app().await;
    let begun = Instant::now();
    let mut connections: Vec<TcpStream> = (0..SLOW)
        .map(|_| {
            let mut connection = TcpStream::connect(app.address).unwrap();
            connection.write_all(b"POST /login HTTP/1.1\r\nHost: a\r\nX-Slow: ").unwrap();
            connection
        })
        .collect();
    for _ in 0..10 {
        assert_eq!(app.request(Method::GET, "/healthz").send().await.unwrap().status(), 200);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // Every other one goes on writing, a letter at a time, for longer than a head may take.
    let ends = tokio::task::spawn_blocking(move || {
        let mut cut_off = 0;
        while cut_off < SLOW / 2 && begun.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(250));
            // A write fails once the other side has answered the one before with a reset.
            cut_off =
                connections.iter_mut().step_by(2).map(|slow| slow.write_all(b"a").is_err()).filter(|cut| *cut).count();
        }
        assert_eq!(cut_off, SLOW / 2, "letters put off the end");
        for connection in connections.iter_mut().skip(1).step_by(2) {
            connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut answer = Vec::new();
            connection.read_to_end(&mut answer).unwrap();
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
        }
    });
    ends.await.unwrap();
    assert!(begun.elapsed() > Duration::from_secs(5), "they were given some time");
}
