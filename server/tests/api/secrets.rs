//! Whoever gets a copy of the database, its raw files or all logs finds no secret in them, in no spelling.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use crate::helpers::{Backend, on_both_stores};
use crate::postgres::connect;
use crate::program::{Place, Program, names};

on_both_stores!(r8_database_files_and_logs_hold_no_secret);

const FIRST_PASSWORD: &str = "the first password of anna";
const SECOND_PASSWORD: &str = "the second password of anna";
const BERTS_PASSWORD: &str = "another one, of bert's";
const MISTYPED: &str = "the frist password of anna";

/// What must not be found: its name and a spelling of it.
#[derive(Default)]
struct Secrets(Vec<(String, Vec<u8>)>);

impl Secrets {
    /// Adds a secret as it is, its digest, and both in hexadecimal and base64, at any place within a longer text.
    fn add(&mut self, name: &str, secret: &[u8]) {
        assert!(secret.len() >= 16, "{name} would be found by chance");
        for bytes in [secret, digest(&SHA256, secret).as_ref()] {
            let hex = hexadecimal(bytes);
            let mut spellings = vec![bytes.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
            for before in 0..3 {
                let padded = [&[0; 2][..before], bytes].concat();
                for alphabet in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                    let text = alphabet.encode(&padded);
                    // The letters at both ends depend on what stands beside the secret.
                    let first = (before * 8).div_ceil(6);
                    let last = padded.len() * 8 / 6;
                    spellings.push(text.as_bytes()[first..last].to_vec());
                }
            }
            self.0.extend(spellings.into_iter().map(|spelling| (name.to_owned(), spelling)));
        }
    }

    fn add_refresh_token(&mut self, token: &str) {
        let tag = token.rsplit('.').next().unwrap();
        self.add("a refresh token", token.as_bytes());
        self.add("the tag of a refresh token", tag.as_bytes());
        self.add("the tag of a refresh token", &URL_SAFE_NO_PAD.decode(tag).unwrap());
    }

    /// Returns the names of the secrets that are in `text`.
    fn found_in(&self, text: &[u8]) -> BTreeSet<&str> {
        let pair = |bytes: &[u8]| usize::from(bytes[0]) * 256 + usize::from(bytes[1]);
        let mut by_start: Vec<Vec<usize>> = vec![Vec::new(); 1 << 16];
        for (number, (_, spelling)) in self.0.iter().enumerate() {
            by_start[pair(spelling)].push(number);
        }
        let mut found = BTreeSet::new();
        for (at, start) in text.windows(2).enumerate() {
            for &number in &by_start[pair(start)] {
                let (name, spelling) = &self.0[number];
                if text[at..].starts_with(spelling) {
                    found.insert(name.as_str());
                }
            }
        }
        found
    }
}

/// A server under test, with all that was ever logged and every secret that it was ever told or told itself.
struct Scene {
    place: Place,
    database: String,
    secrets: Secrets,
    logs: String,
    begun: SystemTime,
}

impl Scene {
    async fn new(backend: Backend) -> Scene {
        let place = Place::new();
        let database = place.database_on(backend).await;
        let secrets = Secrets::default();
        let begun = place.path("home").metadata().unwrap().modified().unwrap();
        Scene { begun, place, database, secrets, logs: String::new() }
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

    fn add_pepper(&mut self) {
        let file = match self.database.strip_prefix("sqlite:") {
            Some(path) => PathBuf::from(format!("{path}.pepper")),
            None => self.place.path("home/.local/share/authcli-server/postgres.pepper"),
        };
        let text = std::fs::read_to_string(file).unwrap();
        self.secrets.add("the pepper", text.trim().as_bytes());
        self.secrets.add("the pepper", &STANDARD.decode(text.trim()).unwrap());
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

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
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
    scene.add_pepper();
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

    // Keys, passwords and sessions are changed beside the server.
    let kept = scene.login(&server, "bert", BERTS_PASSWORD).await.unwrap();
    let ended = scene.login(&server, "anna", FIRST_PASSWORD).await.unwrap();
    scene.run(&["keys", "rotate"], "");
    scene.run(&["keys", "rotate", "--now"], "");
    scene.run(&["keys", "list"], "");
    scene.run(&["user", "password", "anna", "--password-stdin"], SECOND_PASSWORD);
    assert_eq!(scene.refresh(&server, &ended, Some(&key(7))).await, None);
    scene.login(&server, "anna", SECOND_PASSWORD).await.unwrap();
    scene.run(&["sessions", "revoke", "--user", "anna"], "");
    let client = Client::builder().no_proxy().build().unwrap();
    client.request(Method::DELETE, format!("{}/sessions/{kept}", server.url)).send().await.unwrap();

    // And the server begins anew.
    scene.logs += &server.stop().stderr;
    let server = scene.start();
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

async fn r8_database_files_and_logs_hold_no_secret(backend: Backend) {
    let mut scene = Scene::new(backend).await;
    live(&mut scene).await;
    let dump = scene.dump().await;
    assert_eq!(scene.secrets.found_in(&dump), BTreeSet::new(), "in the rows");
    assert_eq!(scene.secrets.found_in(scene.logs.as_bytes()), BTreeSet::new(), "in the logs");
    for what in ["POST /refresh 200", "POST /login 401", "refresh token reuse", "sessions/{id}"] {
        assert!(scene.logs.contains(what), "{what} in {}", scene.logs);
    }

    // The search finds what is there, in each column type and spelling.
    let (token, tag, key, password, pepper) = {
        let first = |name: &str| scene.secrets.0.iter().find(|(of, _)| of == name).unwrap().1.clone();
        let names = ["a refresh token", "the tag of a refresh token", "an attempt key", "a password", "the pepper"];
        let [token, tag, key, password, pepper] = names.map(first);
        (token, tag, key, password, pepper)
    };
    let binary = |bytes: &[u8]| {
        let hex = hexadecimal(bytes);
        if backend == Backend::Sqlite { format!("X'{hex}'") } else { format!("'\\x{hex}'::bytea") }
    };
    let within = STANDARD.encode([b"a password: ".as_slice(), &password].concat());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    scene.execute(format!("UPDATE users SET name = '{}' WHERE name = 'anna'", text(&token))).await;
    scene.execute(format!("UPDATE sessions SET salt = {}, revoked_reason = '{}'", binary(&tag), text(&key))).await;
    scene.execute(format!("UPDATE signing_keys SET algorithm = '{within}'")).await;
    scene.execute(format!("UPDATE peppers SET check_value = {}", binary(&pepper))).await;
    let planted =
        ["a password", "a refresh token", "an attempt key", "the pepper", "the tag of a refresh token"].into();
    assert_eq!(scene.secrets.found_in(&scene.dump().await), planted);
    let log = format!("{} POST /refresh?refreshToken={}", scene.logs, text(&token));
    let found = scene.secrets.found_in(log.as_bytes());
    assert_eq!(found, ["a refresh token", "the tag of a refresh token"].into());
    let found = scene.secrets.found_in(&scene.files().await);
    assert!(found.is_superset(&planted), "{found:?}");
}
