//! A server in this process with a database of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use authcli_server::config::Config;
use authcli_server::domain::Lifetimes;
use authcli_server::password::PasswordCost;
use authcli_server::pepper::PepperSource;
use authcli_server::routes::AllowedOrigins;
use authcli_server::startup::Application;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// Cheap to compute: these tests are not about guessing passwords.
pub(crate) const CHEAP: PasswordCost = PasswordCost { memory_kib: 8, passes: 1 };

/// A running server with the two users of the demonstration.
pub(crate) struct TestApp {
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    pub(crate) config: Config,
    /// Dropped with the test, which stops the server.
    _stop: oneshot::Sender<()>,
    /// Holds the database; shared by servers that share it.
    _directory: Option<TempDir>,
}

/// A pair of tokens, as `/login` and `/refresh` answer it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

/// Starts a server whose tokens live long enough that no test waits for them by accident.
pub(crate) async fn spawn_app() -> TestApp {
    spawn_app_with(|_| {}).await
}

/// Starts a server whose configuration the test has changed.
pub(crate) async fn spawn_app_with(change: impl FnOnce(&mut Config)) -> TestApp {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("test.db");
    let day = Duration::from_hours(24);
    let mut config = Config {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        pepper: PepperSource::beside(&database),
        database,
        lifetimes: Lifetimes { access: Duration::from_mins(15), refresh: day * 7, session: day * 90 },
        origins: AllowedOrigins::Any,
        password_cost: CHEAP,
        demo: true,
    };
    change(&mut config);
    TestApp { _directory: Some(directory), ..TestApp::start(config).await }
}

impl TestApp {
    async fn start(config: Config) -> TestApp {
        let application = Application::build(config.clone()).await.unwrap();
        let address = application.address();
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(application.run_until_stopped(async {
            let _ = stopped.await;
        }));
        let client = Client::builder().no_proxy().build().unwrap();
        TestApp { address, client, config, _stop: stop, _directory: None }
    }

    /// Starts a second server on the same database.
    pub(crate) async fn sibling(&self) -> TestApp {
        Self::start(self.config.clone()).await
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        self.request(Method::POST, path).json(body).send().await.unwrap()
    }

    pub(crate) async fn login(&self) -> Tokens {
        let body = json!({ "username": "admin", "password": "123456" });
        tokens(self.post("/login", &body).await).await
    }

    pub(crate) async fn post_refresh(&self, token: &str, key: Option<&str>) -> Response {
        let request = self.request(Method::POST, "/refresh").json(&json!({ "refreshToken": token }));
        let request = match key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        };
        request.send().await.unwrap()
    }

    /// Refreshes, and expects it to work.
    pub(crate) async fn refresh(&self, token: &str, key: Option<&str>) -> Tokens {
        tokens(self.post_refresh(token, key).await).await
    }

    pub(crate) async fn refresh_status(&self, token: &str, key: Option<&str>) -> u16 {
        self.post_refresh(token, key).await.status().as_u16()
    }

    pub(crate) async fn protected_status(&self, access: &str) -> u16 {
        let request = self.request(Method::GET, "/protected").bearer_auth(access);
        request.send().await.unwrap().status().as_u16()
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.config.database.clone()
    }

    async fn db(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.database()).connect().await.unwrap()
    }

    /// Runs one statement on the database and expects it to change a row.
    pub(crate) async fn db_execute(&self, sql: &str) {
        let done = sqlx::query(AssertSqlSafe(sql)).execute(&mut self.db().await).await.unwrap();
        assert!(done.rows_affected() > 0, "{sql} changed nothing");
    }

    /// Returns one value of the only session's row.
    pub(crate) async fn db_session<T>(&self, column: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        let sql = format!("SELECT {column} FROM sessions");
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut self.db().await).await.unwrap();
        row.get(0)
    }

    /// Returns everything that the only session's row says, to compare it with later.
    pub(crate) async fn db_session_row(&self) -> String {
        self.db_session(
            "quote(id) || quote(generation) || quote(rotated_at) || quote(keyless) || quote(attempt_1)
             || quote(attempt_2) || quote(idle_expires_at) || quote(absolute_expires_at)
             || quote(revoked_at) || quote(revoked_reason)",
        )
        .await
    }

    /// Lets the last rotation lie an hour back.
    pub(crate) async fn db_age_rotation(&self) {
        self.db_execute("UPDATE sessions SET rotated_at = rotated_at - 3600000").await;
    }
}

/// Reads a pair of tokens from an answer that must hold one.
pub(crate) async fn tokens(response: Response) -> Tokens {
    assert_eq!(response.status(), 200);
    let body: Value = response.json().await.unwrap();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    Tokens { access: text("accessToken"), refresh: text("refreshToken") }
}

/// Waits for a condition, ten seconds at most.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < Duration::from_secs(10), "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
