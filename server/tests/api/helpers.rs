//! A server in this process with a database of its own.

mod rows;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use authcli_server::auth::Auth;
use authcli_server::config::Config;
use authcli_server::domain::Lifetimes;
use authcli_server::keys::KeyRing;
use authcli_server::password::{PasswordCost, Passwords, Room};
use authcli_server::pepper::{Absent, PepperSource, Peppers};
use authcli_server::ports::Store;
use authcli_server::routes::{AllowedOrigins, TrustedProxies};
use authcli_server::startup::Application;
use authcli_server::store::{DatabaseUrl, Missing};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

pub(crate) use self::rows::open_file;

/// Cheap to compute: these tests are not about guessing passwords.
pub(crate) const CHEAP: PasswordCost = PasswordCost { memory_kib: 8, passes: 1 };

/// A running server with the two users of the demonstration.
pub(crate) struct TestApp {
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    pub(crate) config: Config,
    /// How the test itself reaches the database.
    reach: Reach,
    /// Dropped with the test, which stops the server.
    _stop: oneshot::Sender<()>,
    /// Holds the database; shared by servers that share it.
    _directory: Option<TempDir>,
}

/// Which database a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    #[cfg(unix)]
    Postgres,
}

/// A database as the test reaches it.
#[derive(Clone)]
enum Reach {
    File(PathBuf),
    #[cfg(unix)]
    Server(String),
}

/// Makes a test of each case for each database.
macro_rules! on_both_stores {
    ($($case:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case($crate::helpers::Backend::Sqlite).await;
                }
            )+
        }

        #[cfg(unix)]
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                #[ignore = "needs PostgreSQL: run `make test`"]
                async fn $case() {
                    super::$case($crate::helpers::Backend::Postgres).await;
                }
            )+
        }
    };
}
pub(crate) use on_both_stores;

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
    spawn_app_on(Backend::Sqlite, change).await
}

/// Starts a server on a new database of this kind.
pub(crate) async fn spawn_app_on(backend: Backend, change: impl FnOnce(&mut Config)) -> TestApp {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("test.db");
    let pepper = PepperSource::beside(&file);
    let (reach, database) = match backend {
        Backend::Sqlite => (Reach::File(file.clone()), DatabaseUrl::Sqlite(file)),
        #[cfg(unix)]
        Backend::Postgres => {
            let url = crate::postgres::Cluster::shared().database().await;
            let database = crate::postgres::database_url(&url);
            (Reach::Server(url), database)
        }
    };
    let day = Duration::from_hours(24);
    let mut config = Config {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        pepper,
        database,
        lifetimes: Lifetimes { access: Duration::from_mins(15), refresh: day * 7, session: day * 90 },
        origins: AllowedOrigins::Any,
        proxies: TrustedProxies::default(),
        password_cost: CHEAP,
        password_room: Room::default(),
        demo: true,
    };
    change(&mut config);
    TestApp { _directory: Some(directory), ..TestApp::start(config, reach).await }
}

impl TestApp {
    async fn start(config: Config, reach: Reach) -> TestApp {
        let application = Application::build(config.clone()).await.unwrap();
        let address = application.address();
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(application.run_until_stopped(async {
            let _ = stopped.await;
        }));
        let client = Client::builder().no_proxy().build().unwrap();
        TestApp { address, client, config, reach, _stop: stop, _directory: None }
    }

    /// Starts a second server on the same database.
    pub(crate) async fn sibling(&self) -> TestApp {
        self.sibling_with(|_| {}).await
    }

    /// Starts a second server on the same database, with another configuration.
    pub(crate) async fn sibling_with(&self, change: impl FnOnce(&mut Config)) -> TestApp {
        let mut config = self.config.clone();
        change(&mut config);
        Self::start(config, self.reach.clone()).await
    }

    /// Starts a second server that reaches the same database by another URL.
    #[cfg(unix)]
    pub(crate) async fn sibling_through(&self, url: &str) -> TestApp {
        let config = Config { database: crate::postgres::database_url(url), ..self.config.clone() };
        Self::start(config, self.reach.clone()).await
    }

    /// Returns the URL of the database, for tests that are about PostgreSQL.
    #[cfg(unix)]
    pub(crate) fn url(&self) -> String {
        match &self.reach {
            Reach::Server(url) => url.clone(),
            Reach::File(_) => panic!("no server"),
        }
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

    /// Returns the file of the database, for tests that are about SQLite.
    pub(crate) fn database(&self) -> PathBuf {
        match &self.reach {
            Reach::File(path) => path.clone(),
            #[cfg(unix)]
            Reach::Server(_) => panic!("no file"),
        }
    }

    /// Opens the database beside the server.
    pub(crate) async fn store(&self) -> Arc<dyn Store> {
        authcli_server::store::open(&self.config.database, Missing::Refuse).await.unwrap()
    }

    /// The server's own parts, on the same database and for clients at any address.
    pub(crate) async fn auth(&self) -> Arc<Auth> {
        let store = self.store().await;
        let peppers = Arc::new(Peppers::load(&self.config.pepper, &*store, Absent::Check).await.unwrap());
        let keys = KeyRing::load(store.clone(), Arc::clone(&peppers), self.config.lifetimes.access).await.unwrap();
        // Room enough for all tests, and no turn that takes long for want of one.
        let passwords = Passwords::with_room(CHEAP, Room { at_once: 8, waiting: 64 }).unwrap();
        Arc::new(Auth::new(store.clone(), store.clone(), store, peppers, keys, passwords, self.config.lifetimes))
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
    by(Instant::now() + Duration::from_secs(10), what, condition).await;
}

/// Waits for a condition that must hold at this moment, if not sooner.
pub(crate) async fn by(moment: Instant, what: &str, condition: impl AsyncFn() -> bool) {
    while !condition().await {
        assert!(Instant::now() < moment, "{what} did not happen in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
