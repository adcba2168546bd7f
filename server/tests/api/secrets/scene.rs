//! A server that lives through whatever has to do with secrets.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use authcli_server::pepper::{Absent, PepperSource, Peppers};
use authcli_server::store::{self, Missing};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Client;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::spellings::Secrets;
use crate::helpers::Backend;
use crate::leaks;
use crate::postgres::{Cluster, connect, database_url};
use crate::program::{Place, Program, names};

/// A server under test, with all that was ever logged and every secret that it was ever told or told itself.
pub(super) struct Scene {
    pub(super) place: Place,
    /// One of its own, which goes away once.
    pub(super) cluster: Option<Cluster>,
    pub(super) database: String,
    pub(super) secrets: Secrets,
    pub(super) logs: String,
    begun: SystemTime,
}

impl Scene {
    pub(super) async fn new(backend: Backend) -> Scene {
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

    pub(super) fn start(&self) -> Program {
        Program::start(self.command(&["serve", "--listen", "127.0.0.1:0"]))
    }

    /// Runs a command of the operator's, which must work; what it prints counts as logged.
    pub(super) fn run(&mut self, arguments: &[&str], input: &str) {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        leaks::remember(input);
        let output = child.wait_with_output().unwrap();
        self.logs += &String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", self.logs);
    }

    pub(super) async fn login(&mut self, server: &Program, name: &str, password: &str) -> Option<String> {
        let body = json!({ "username": name, "password": password });
        let response = post(server, "/login", None, &body).await;
        self.pair(&response)
    }

    pub(super) async fn refresh(&mut self, server: &Program, token: &str, key: Option<&str>) -> Option<String> {
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

    pub(super) fn add_peppers(&mut self) {
        for line in std::fs::read_to_string(self.pepper_file()).unwrap().lines() {
            self.secrets.add("the pepper", line.as_bytes());
            self.secrets.add("the pepper", &STANDARD.decode(line).unwrap());
        }
    }

    /// Opens the private signing keys that there are now, as the server does.
    pub(super) async fn add_signing_keys(&mut self) {
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
    pub(super) async fn execute(&self, sql: String) {
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
    pub(super) async fn dump(&self) -> Vec<u8> {
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
    pub(super) async fn files(&self) -> Vec<u8> {
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

pub(super) async fn post(server: &Program, path: &str, key: Option<&str>, body: &Value) -> Value {
    let client = Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("{}{path}", server.url)).json(body);
    let request = match key {
        Some(key) => request.header("Idempotency-Key", key),
        None => request,
    };
    request.send().await.unwrap().json().await.unwrap_or(Value::Null)
}
