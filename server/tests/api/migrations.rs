//! Databases as older versions left them, with contents, are brought up to date and go on.
//!
//! One of version N is made from today's: the first N migrations on an empty database, and of each table that it has what
//! its columns then could hold. So a new migration is tested without a word about it here.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use crate::helpers::{Backend, eventually, on_both_stores};
use crate::pepper::{Scene, login, post, protected};
use crate::postgres::connect;
use crate::program::Program;

on_both_stores!(databases_of_all_versions_go_on_with_what_is_in_them);

/// Returns all migrations, the first one first.
fn migrations(backend: Backend) -> Vec<String> {
    let room = if backend == Backend::Sqlite { "sqlite" } else { "postgres" };
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(room);
    let mut files: Vec<PathBuf> = fs::read_dir(room).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read_to_string(file).unwrap()).collect()
}

/// A database that a test changes behind a server's back.
enum Database {
    File(PathBuf),
    Server(String),
}

impl Database {
    fn of(scene: &Scene) -> Database {
        match scene.database.strip_prefix("sqlite:") {
            Some(path) => Database::File(path.into()),
            None => Database::Server(scene.database.clone()),
        }
    }

    /// Returns how many migrations it has seen, and what its tables and indexes are like.
    async fn schema(&self) -> (i64, String) {
        const SEEN: &str = "SELECT count(*) FROM _sqlx_migrations";
        match self {
            Database::File(path) => {
                const SCHEMA: &str = "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_master ORDER BY name)";
                let mut file = open(path).await;
                let seen = sqlx::query_scalar(SEEN).fetch_one(&mut file).await.unwrap();
                let schema = sqlx::query_scalar(SCHEMA).fetch_one(&mut file).await.unwrap();
                file.close().await.unwrap();
                (seen, schema)
            }
            Database::Server(url) => {
                const SCHEMA: &str = "SELECT string_agg(line, ';' ORDER BY line) FROM (
                    SELECT concat_ws(' ', table_name, ordinal_position, column_name, data_type, is_nullable,
                                     column_default, is_identity)
                        FROM information_schema.columns WHERE table_schema = 'public'
                    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
                    UNION ALL SELECT conname || pg_get_constraintdef(oid) FROM pg_constraint
                        WHERE connamespace = 'public'::regnamespace) AS lines (line)";
                let mut connection = connect(url).await;
                let seen = sqlx::query_scalar(SEEN).fetch_one(&mut connection).await.unwrap();
                (seen, sqlx::query_scalar(SCHEMA).fetch_one(&mut connection).await.unwrap())
            }
        }
    }

    /// Makes of it what it would be if it had seen these migrations alone.
    async fn age(&self, migrations: &[String]) {
        match self {
            Database::File(path) => age_file(path, migrations).await,
            Database::Server(url) => age_schema(&mut connect(url).await, migrations).await,
        }
    }
}

async fn open(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap()
}

async fn age_file(path: &Path, migrations: &[String]) {
    let old = path.with_extension("old");
    let mut file = open(&old).await;
    let run = async |file: &mut SqliteConnection, sql: String| {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(file).await.unwrap();
    };
    for migration in migrations {
        run(&mut file, migration.clone()).await;
    }
    run(&mut file, format!("ATTACH '{}' AS today", path.display())).await;
    let history = "SELECT sql FROM today.sqlite_master WHERE name = '_sqlx_migrations'";
    let history: String = sqlx::query_scalar(history).fetch_one(&mut file).await.unwrap();
    run(&mut file, history).await;
    let tables = "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY rowid";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut file).await.unwrap();
    for table in tables {
        let columns = "SELECT group_concat(name) FROM (SELECT name FROM pragma_table_info(?1, 'main')
            INTERSECT SELECT name FROM pragma_table_info(?1, 'today'))";
        let columns: String = sqlx::query_scalar(columns).bind(&table).fetch_one(&mut file).await.unwrap();
        run(&mut file, format!("INSERT INTO main.{table} ({columns}) SELECT {columns} FROM today.{table}")).await;
    }
    run(&mut file, format!("DELETE FROM main._sqlx_migrations WHERE version > {}", migrations.len())).await;
    file.close().await.unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(old, path).unwrap();
    for side in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{side}", path.display()));
    }
}

async fn age_schema(connection: &mut PgConnection, migrations: &[String]) {
    let run = async |connection: &mut PgConnection, sql: &str| {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap();
    };
    run(connection, "ALTER SCHEMA public RENAME TO today; CREATE SCHEMA public").await;
    for migration in migrations {
        run(connection, migration).await;
    }
    run(connection, "CREATE TABLE _sqlx_migrations (LIKE today._sqlx_migrations INCLUDING ALL)").await;
    let tables = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        ORDER BY oid";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut *connection).await.unwrap();
    for table in tables {
        let columns = "SELECT string_agg(column_name, ', ') FROM (
            SELECT column_name FROM information_schema.columns WHERE table_name = $1 AND table_schema = 'public'
            INTERSECT SELECT column_name FROM information_schema.columns
                WHERE table_name = $1 AND table_schema = 'today') AS shared";
        let columns: String = sqlx::query_scalar(columns).bind(&table).fetch_one(&mut *connection).await.unwrap();
        run(connection, &format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM today.{table}")).await;
    }
    run(connection, &format!("DELETE FROM _sqlx_migrations WHERE version > {}", migrations.len())).await;
    run(connection, "SELECT setval(pg_get_serial_sequence('users', 'id'), max(id)) FROM users").await;
    run(connection, "DROP SCHEMA today CASCADE").await;
}

/// With users, sessions, a pepper, a signing key and failed logins in them, where the version had those.
async fn databases_of_all_versions_go_on_with_what_is_in_them(backend: Backend) {
    let scene = Scene::new(backend).await;
    let serve = || {
        let mut command = scene.serve();
        command.args(["--access-ttl", "15m"]);
        command
    };
    let wrong = json!({ "username": "admin", "password": "wrong" });
    let server = Program::start(serve());
    let mut pair = login(&server).await;
    assert_eq!(post(&server, "/login", &wrong).await.0, 401);
    server.stop();
    let (migrations, database) = (migrations(backend), Database::of(&scene));
    let today = database.schema().await;
    assert_eq!(today.0, i64::try_from(migrations.len()).unwrap(), "each file is a migration");
    assert!(!today.1.contains("sessions_by_end"), "an index that no query uses");

    for version in (1..migrations.len()).rev() {
        database.age(&migrations[..version]).await;
        let aged = database.schema().await;
        assert_eq!(aged.0, i64::try_from(version).unwrap());
        assert_eq!(aged.1.contains("sessions_by_end"), version < 5);
        let key = scene.run(&["keys", "list"]);
        assert!(key.contains("signing since 20") && key.lines().count() == 1, "{version}: {key}");
        assert_eq!(database.schema().await, today, "{version}");

        let server = Program::start(serve());
        assert_eq!(protected(&server, pair["accessToken"].as_str().unwrap()).await, 200, "{version}");
        let status;
        (status, pair) = post(&server, "/refresh", &pair).await;
        assert_eq!(status, 200, "{version}");
        // A key that was there before counts as one that signed for as long as the default says.
        assert!(scene.run(&["keys", "rotate"]).contains("Announced the signing key"));
        scene.run(&["keys", "rotate", "--now"]);
        let access = pair["accessToken"].as_str().unwrap();
        eventually("the replacement", async || protected(&server, access).await == 403).await;
        assert_eq!(post(&server, "/login", &wrong).await.0, 401);
        (_, pair) = post(&server, "/refresh", &pair).await;
        assert_eq!(protected(&server, pair["accessToken"].as_str().unwrap()).await, 200, "{version}");
        server.stop();
    }
    scene.run(&["pepper", "rotate"]);
    let server = Program::start(serve());
    assert_eq!(post(&server, "/refresh", &pair).await.0, 200);
}
