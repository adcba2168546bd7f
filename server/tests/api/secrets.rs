//! Whoever gets a copy of the database, its raw files or all logs finds no secret in them, in no spelling.

mod spellings;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use authcli_server::pepper::{Absent, PepperSource, Peppers};
use authcli_server::store::{self, Missing};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Method};
use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use self::spellings::{Secrets, hexadecimal};
use crate::helpers::{Backend, eventually, on_both_stores};
use crate::leaks;
use crate::postgres::{Cluster, connect, database_url};
use crate::program::{Place, Program, names};

on_both_stores!(r8_database_files_and_logs_hold_no_secret);

const FIRST_PASSWORD: &str = "the first password of anna";
const SECOND_PASSWORD: &str = "the second password of anna";
const BERTS_PASSWORD: &str = "another one, of bert's";
const MISTYPED: &str = "the frist password of anna";
const GUESSED_NAME: &str = "a name that nobody here has";

/// A server under test, with all that was ever logged and every secret that it was ever told or told itself.
struct Scene {
    place: Place,
    /// One of its own, which goes away once.
    cluster: Option<Cluster>,
    database: String,
    secrets: Secrets,
    logs: String,
    begun: SystemTime,
}

impl Scene {
    async fn new(backend: Backend) -> Scene {
        let place = Place::new();
        let secrets = Secrets::default();
        let begun = place.path("home").metadata().unwrap().modified().unwrap();
        let cluster = (backend == Backend::Postgres).then(Cluster::start);
        let database = match &cluster {
            Some(cluster) => cluster.database().await,
            None => place.database("a.db"),
        };
        Scene { begun, place, cluster, database, secrets, logs: String::new() }
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.place.command(arguments);
        command.env("AUTHCLI_SERVER_DATABASE", &self.database).env("AUTHCLI_SERVER_LOG", "trace");
        command
    }

    fn start(&self) -> Program {
        Program::start(self.command(&["serve", "--listen", "127.0.0.1:0"]))
    }

    /// Runs a command of the operator's, which must work; what it prints counts as logged.
    fn run(&mut self, arguments: &[&str], input: &str) {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        leaks::remember(input);
        let output = child.wait_with_output().unwrap();
        self.logs += &String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", self.logs);
    }

    async fn login(&mut self, server: &Program, name: &str, password: &str) -> Option<String> {
        let body = json!({ "username": name, "password": password });
        let response = post(server, "/login", None, &body).await;
        self.pair(&response)
    }

    async fn refresh(&mut self, server: &Program, token: &str, key: Option<&str>) -> Option<String> {
        if let Some(key) = key {
            self.secrets.add("an attempt key", key.as_bytes());
        }
        let response = post(server, "/refresh", key, &json!({ "refreshToken": token })).await;
        self.pair(&response)
    }

    fn pair(&mut self, body: &Value) -> Option<String> {
        let refresh = body["refreshToken"].as_str()?.to_owned();
        self.secrets.add_refresh_token(&refresh);
        let signature = body["accessToken"].as_str()?.rsplit('.').next()?;
        self.secrets.add("the signature of an access token", signature.as_bytes());
        Some(refresh)
    }

    fn pepper_file(&self) -> PathBuf {
        match self.database.strip_prefix("sqlite:") {
            Some(path) => PathBuf::from(format!("{path}.pepper")),
            None => self.place.path("home/.local/share/authcli-server/postgres.pepper"),
        }
    }

    fn add_peppers(&mut self) {
        for line in std::fs::read_to_string(self.pepper_file()).unwrap().lines() {
            self.secrets.add("the pepper", line.as_bytes());
            self.secrets.add("the pepper", &STANDARD.decode(line).unwrap());
        }
    }

    /// Opens the private signing keys that there are now, as the server does.
    async fn add_signing_keys(&mut self) {
        let store = store::open(&database_url(&self.database), Missing::Refuse).await.unwrap();
        let source = PepperSource::File(self.pepper_file());
        let peppers = Peppers::load_known(&source, &*store, Absent::Check).await.unwrap();
        for key in store.signing_keys().await.unwrap().keys {
            let label = format!("signing key {}", key.key.id.0);
            let pkcs8 = peppers.open(key.key.pepper_id, &label, &key.key.sealed).unwrap().unwrap();
            // RFC 8410 section 7: the last octets of the oldest form.
            let seed = &pkcs8[pkcs8.len() - 32..];
            let public = Ed25519KeyPair::from_pkcs8(&pkcs8).unwrap();
            Ed25519KeyPair::from_seed_and_public_key(seed, public.public_key().as_ref()).unwrap();
            self.secrets.add("the seed of a signing key", seed);
        }
        store.close().await;
    }

    /// Runs a statement that changes something.
    async fn execute(&self, sql: String) {
        let sql = AssertSqlSafe(sql);
        let changed = match self.database.strip_prefix("sqlite:") {
            Some(path) => {
                let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
                let changed = sqlx::query(sql).execute(&mut connection).await.unwrap().rows_affected();
                connection.close().await.unwrap();
                changed
            }
            None => sqlx::query(sql).execute(&mut connect(&self.database).await).await.unwrap().rows_affected(),
        };
        assert!(changed > 0);
    }

    /// Returns all columns of all rows of all tables.
    async fn dump(&self) -> Vec<u8> {
        let mut dump = Vec::new();
        if let Some(path) = self.database.strip_prefix("sqlite:") {
            let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
            let columns: Vec<(String, String)> = sqlx::query_as(
                "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table'",
            )
            .fetch_all(&mut connection)
            .await
            .unwrap();
            for (table, column) in columns {
                let sql = AssertSqlSafe(format!("SELECT CAST({column} AS BLOB) FROM {table}"));
                let values: Vec<Option<Vec<u8>>> = sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap();
                for value in values.into_iter().flatten() {
                    dump.extend(value);
                    dump.push(b'\n');
                }
            }
        } else {
            let mut connection = connect(&self.database).await;
            let tables: Vec<String> =
                sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
                    .fetch_all(&mut connection)
                    .await
                    .unwrap();
            for table in tables {
                let sql = AssertSqlSafe(format!("SELECT t::text FROM {table} t"));
                let rows: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap();
                dump.extend(rows.join("\n").into_bytes());
            }
        }
        dump
    }

    /// Returns the raw files: of SQLite the database and its log of changes, of PostgreSQL the database's own files, and
    /// what the whole cluster has logged since the test began, for its operator and for itself.
    async fn files(&self) -> Vec<u8> {
        let mut files = Vec::new();
        if self.database.starts_with("sqlite:") {
            let directory = self.place.directory.path();
            let stored =
                names(directory).into_iter().filter(|name| name.starts_with("a.db") && !name.ends_with(".pepper"));
            files.extend(stored.map(|name| directory.join(name)));
        } else {
            let mut connection = connect(&self.database).await;
            sqlx::raw_sql("CHECKPOINT").execute(&mut connection).await.unwrap();
            let place: String = sqlx::query_scalar(
                "SELECT current_setting('data_directory') || '/base/' || oid FROM pg_database
                 WHERE datname = current_database()",
            )
            .fetch_one(&mut connection)
            .await
            .unwrap();
            let place = Path::new(&place);
            let data = place.ancestors().nth(2).unwrap();
            files.extend(names(place).into_iter().map(|name| place.join(name)));
            files.extend(names(&data.join("pg_wal")).into_iter().map(|name| data.join("pg_wal").join(name)));
            files.push(data.parent().unwrap().join("log"));
            files.retain(|file| {
                let metadata = file.metadata();
                metadata.is_ok_and(|metadata| metadata.is_file() && metadata.modified().unwrap() >= self.begun)
            });
        }
        // A file that PostgreSQL has put away in the meantime was another test's.
        files.iter().flat_map(|file| std::fs::read(file).unwrap_or_default()).collect()
    }
}

async fn post(server: &Program, path: &str, key: Option<&str>, body: &Value) -> Value {
    let client = Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("{}{path}", server.url)).json(body);
    let request = match key {
        Some(key) => request.header("Idempotency-Key", key),
        None => request,
    };
    request.send().await.unwrap().json().await.unwrap_or(Value::Null)
}

async fn live(scene: &mut Scene) {
    for (name, password) in [("anna", FIRST_PASSWORD), ("bert", BERTS_PASSWORD)] {
        scene.run(&["user", "add", name, "--password-stdin"], password);
    }
    for password in [FIRST_PASSWORD, SECOND_PASSWORD, BERTS_PASSWORD, MISTYPED] {
        scene.secrets.add("a password", password.as_bytes());
    }
    let server = scene.start();
    scene.add_peppers();
    scene.add_signing_keys().await;
    let key = |number: u8| format!("an-attempt-key-of-the-test-{number}");

    // Refreshed with keys and without, repeated, late, forged; then stolen.
    let first = scene.login(&server, "anna", FIRST_PASSWORD).await.unwrap();
    let second = scene.refresh(&server, &first, Some(&key(1))).await.unwrap();
    assert_eq!(scene.refresh(&server, &first, Some(&key(1))).await.as_ref(), Some(&second));
    let third = scene.refresh(&server, &second, Some(&key(2))).await.unwrap();
    assert_eq!(scene.refresh(&server, &first, Some(&key(1))).await, None, "late");
    let forged = format!("{}A", &third[..third.len() - 1]);
    assert_eq!(scene.refresh(&server, &forged, Some(&key(3))).await, None, "forged");
    let fourth = scene.refresh(&server, &third, None).await.unwrap();
    assert_eq!(scene.refresh(&server, &first, Some(&key(4))).await, None, "stolen");
    assert_eq!(scene.refresh(&server, &fourth, Some(&key(5))).await, None, "over");

    // Logged out; mistyped; a password in the place of the name.
    let other = scene.login(&server, "anna", FIRST_PASSWORD).await.unwrap();
    post(&server, "/logout", Some(&key(6)), &json!({ "refreshToken": other })).await;
    scene.secrets.add("an attempt key", key(6).as_bytes());
    for (name, password) in [("anna", MISTYPED), (FIRST_PASSWORD, MISTYPED), ("nobody", SECOND_PASSWORD)] {
        assert_eq!(scene.login(&server, name, password).await, None);
    }

    // Guessed at, until nobody listens any more.
    scene.secrets.add("a name that was typed", GUESSED_NAME.as_bytes());
    for _ in 0..11 {
        assert_eq!(scene.login(&server, GUESSED_NAME, MISTYPED).await, None);
    }

    // Keys, passwords and sessions are changed beside the server.
    let kept = scene.login(&server, "bert", BERTS_PASSWORD).await.unwrap();
    let ended = scene.login(&server, "anna", FIRST_PASSWORD).await.unwrap();
    scene.run(&["keys", "rotate"], "");
    scene.add_signing_keys().await;
    scene.run(&["keys", "rotate", "--now"], "");
    scene.add_signing_keys().await;
    scene.run(&["keys", "list"], "");
    scene.run(&["user", "password", "anna", "--password-stdin"], SECOND_PASSWORD);
    assert_eq!(scene.refresh(&server, &ended, Some(&key(7))).await, None);
    scene.login(&server, "anna", SECOND_PASSWORD).await.unwrap();
    scene.run(&["sessions", "revoke", "--user", "anna"], "");
    let client = Client::builder().no_proxy().build().unwrap();
    client.request(Method::DELETE, format!("{}/sessions/{kept}", server.url)).send().await.unwrap();

    // The database goes away, and comes back.
    if scene.cluster.is_some() {
        outage(scene, &server, &kept).await;
    }

    // The pepper is replaced, the server dies and begins anew.
    scene.run(&["pepper", "rotate"], "");
    scene.add_peppers();
    server.signal(Signal::KILL);
    scene.logs += &server.end().stderr;
    let server = scene.start();
    scene.run(&["keys", "rotate", "--now"], "");
    scene.add_signing_keys().await;
    let newest = scene.login(&server, "bert", BERTS_PASSWORD).await.unwrap();
    let newest = scene.refresh(&server, &newest, Some(&key(10))).await.unwrap();
    assert!(scene.refresh(&server, &newest, None).await.is_some());
    assert!(scene.refresh(&server, &kept, Some(&key(8))).await.is_some());
    assert_eq!(scene.refresh(&server, &kept, Some(&key(9))).await, None);

    // As it lies there while the server runs.
    if scene.database.starts_with("sqlite:") {
        assert!(scene.place.path("a.db-wal").metadata().unwrap().len() > 0);
    }
    let files = scene.files().await;
    assert_eq!(scene.secrets.found_in(&files), BTreeSet::new());
    assert!(!files.is_empty());
    scene.logs += &server.stop().stderr;
}

/// Each call fails, with all its causes in the log.
async fn outage(scene: &mut Scene, server: &Program, token: &str) {
    let cluster = scene.cluster.take().unwrap();
    tokio::task::block_in_place(|| cluster.crash());
    assert_eq!(scene.login(server, "bert", BERTS_PASSWORD).await, None);
    for path in ["/refresh", "/logout"] {
        post(server, path, Some("an-attempt-key-of-an-outage"), &json!({ "refreshToken": token })).await;
    }
    scene.secrets.add("an attempt key", b"an-attempt-key-of-an-outage");
    tokio::task::block_in_place(|| cluster.resume());
    scene.cluster = Some(cluster);
    let client = Client::builder().no_proxy().build().unwrap();
    let ready = async || client.get(format!("{}/readyz", server.url)).send().await.unwrap().status() == 200;
    eventually("a database that is back", ready).await;
}

async fn r8_database_files_and_logs_hold_no_secret(backend: Backend) {
    let mut scene = Scene::new(backend).await;
    live(&mut scene).await;
    let dump = scene.dump().await;
    assert_eq!(scene.secrets.found_in(&dump), BTreeSet::new(), "in the rows");
    assert_eq!(scene.secrets.found_in(scene.logs.as_bytes()), BTreeSet::new(), "in the logs");
    let logged = [
        "POST /refresh 200",
        "POST /login 401",
        "POST /login 429",
        "too many failed logins to an unknown name",
        "refresh token reuse",
        "sessions/{id}",
        "a new pepper is known to the database",
    ];
    let outage = ["ERROR", "the database is not available: ", "POST /refresh 503", "POST /login 503"];
    let outage = outage.iter().filter(|_| backend == Backend::Postgres);
    for what in logged.iter().chain(outage) {
        assert!(scene.logs.contains(what), "{what} in {}", scene.logs);
    }

    // The search finds what is there, in each column type and spelling.
    let first = |name: &str| scene.secrets.0.iter().find(|(of, _)| of == name).unwrap().1.clone();
    let names = ["a refresh token", "the tag of a refresh token", "an attempt key", "a password", "the pepper"];
    let [token, tag, key, password, pepper] = names.map(first);
    let seed = first("the seed of a signing key");
    let binary = |bytes: &[u8]| {
        let hex = hexadecimal(bytes);
        if backend == Backend::Sqlite { format!("X'{hex}'") } else { format!("'\\x{hex}'::bytea") }
    };
    let within = STANDARD.encode([b"a password: ".as_slice(), &password].concat());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    scene.execute(format!("UPDATE users SET name = '{}' WHERE name = 'anna'", text(&token))).await;
    scene.execute(format!("UPDATE sessions SET salt = {}, revoked_reason = '{}'", binary(&tag), text(&key))).await;
    scene.execute(format!("UPDATE signing_keys SET algorithm = '{within}', sealed = {}", binary(&seed))).await;
    scene.execute(format!("UPDATE peppers SET check_value = {}", binary(&pepper))).await;
    let planted = names.into_iter().chain(["the seed of a signing key"]).collect();
    assert_eq!(scene.secrets.found_in(&scene.dump().await), planted);
    let log = format!("{} POST /refresh?refreshToken={}", scene.logs, text(&token));
    let found = scene.secrets.found_in(log.as_bytes());
    assert_eq!(found, ["a refresh token", "the tag of a refresh token"].into());
    let found = scene.secrets.found_in(&scene.files().await);
    assert!(found.is_superset(&planted), "{found:?}");
}
