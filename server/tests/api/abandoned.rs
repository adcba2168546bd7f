//! Clients that go away in the middle: what they began is done to its end, and costs nobody else anything.

use std::fs::File;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::helpers::{Backend, eventually};
use crate::postgres::connect;
use crate::program::{Place, Program};

/// A server whose log can be read while it runs, on a database whose rows the test can hold.
struct World {
    place: Place,
    server: Program,
    database: String,
    operator: PgConnection,
}

impl World {
    async fn new() -> World {
        let place = Place::new();
        let database = place.database_on(Backend::Postgres).await;
        let mut command = place.command(&["serve", "--demo", "--listen", "127.0.0.1:0"]);
        command.env("AUTHCLI_SERVER_DATABASE", &database).env("AUTHCLI_SERVER_LOG", "info");
        command.stderr(File::create(place.path("log")).unwrap());
        let server = Program::start_without_stderr(command);
        let operator = connect(&database).await;
        World { place, server, database, operator }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.place.path("log")).unwrap()
    }

    async fn post(&self, path: &str, key: Option<&str>, body: &Value) -> reqwest::Response {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(format!("{}{path}", self.server.url)).json(body);
        let request = key.into_iter().fold(request, |request, key| request.header("Idempotency-Key", key));
        request.send().await.unwrap()
    }

    async fn execute(&mut self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.operator).await.unwrap();
    }

    async fn sessions(&mut self) -> i64 {
        sqlx::query("SELECT count(*) FROM sessions").fetch_one(&mut self.operator).await.unwrap().get(0)
    }

    /// Sends a request, waits until it waits for what the test holds, and resets its connection.
    async fn abandon(&mut self, path: &str, body: &Value) {
        let given_up = self.log().matches("nobody waits any more").count();
        let mut connection = TcpStream::connect(self.server.url.strip_prefix("http://").unwrap()).await.unwrap();
        let body = body.to_string();
        let length = body.len();
        let head = "Host: a\r\nContent-Type: application/json\r\nIdempotency-Key: the-key-of-a-stranger";
        let request = format!("POST {path} HTTP/1.1\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut watcher = connect(&self.database).await;
        let waits = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock'";
        for _ in 0..500 {
            if sqlx::query(waits).fetch_one(&mut watcher).await.unwrap().get::<i64, _>(0) == 1 {
                connection.set_zero_linger().unwrap();
                drop(connection);
                let noticed = async || self.log().matches("nobody waits any more").count() > given_up;
                eventually("the reset", noticed).await;
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{path} does not wait");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn a_thief_who_goes_away_does_not_take_the_alarm_along() {
    let mut world = World::new().await;
    let credentials = json!({ "username": "admin", "password": "123456" });
    let pair: Value = world.post("/login", None, &credentials).await.json().await.unwrap();
    let stale = json!({ "refreshToken": pair["refreshToken"] });
    assert_eq!(world.post("/refresh", Some("the-key-of-its-owner"), &stale).await.status(), 200);

    world.execute("BEGIN; SELECT FROM sessions FOR UPDATE").await;
    world.abandon("/refresh", &stale).await;
    world.execute("ROLLBACK").await;
    eventually("the alarm", async || world.log().contains("refresh token reuse: session revoked")).await;
    let reason = sqlx::query("SELECT revoked_reason FROM sessions").fetch_one(&mut world.operator).await.unwrap();
    assert_eq!(reason.get::<String, _>(0), "reuse");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn logins_that_are_right_and_abandoned_are_no_failures() {
    let mut world = World::new().await;
    let credentials = json!({ "username": "admin", "password": "123456" });
    for login in 1..=10 {
        // Counted already, and not yet looked up.
        world.execute("BEGIN; LOCK TABLE users").await;
        world.abandon("/login", &credentials).await;
        world.execute("ROLLBACK").await;
        // Otherwise the next one would be told from this one, which still has a session to open.
        let mut looks = 0;
        while world.sessions().await < login {
            looks += 1;
            assert!(looks < 500, "login {login} opened no session");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let status = async || world.post("/login", None, &credentials).await.status();
    eventually("a login", async || status().await == 200).await;
}
