//! Migrations on PostgreSQL, where others are at work on the tables.

use std::time::Duration;

use authcli_server::store::{self, Missing, OpenError};
use sqlx::Executor as _;
use sqlx::migrate::MigrateError;

use crate::helpers::{Backend, TestApp, eventually, spawn_app_on};
use crate::postgres::{connect, database_url};
use crate::proxy::Proxy;

/// Makes the database one of the version before.
async fn undo_the_last_migration(app: &TestApp) {
    app.db_run("DROP INDEX sessions_by_pepper; DELETE FROM _sqlx_migrations WHERE version = 6").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn a_migration_that_waits_for_a_table_lets_requests_pass_and_gets_its_turn() {
    let app = spawn_app_on(Backend::Postgres, |_| {}).await;
    let mut login = app.login().await;
    undo_the_last_migration(&app).await;
    let mut other = connect(&app.url()).await;
    other.execute("BEGIN; LOCK TABLE sessions IN ROW EXCLUSIVE MODE").await.unwrap();
    let url = app.url();
    let opened = tokio::spawn(async move { store::open(&database_url(&url), Missing::Refuse).await });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
                 AND query LIKE '%CREATE INDEX%'";
    eventually("the migration waits", async || app.db_value::<i64>(waits).await == 1).await;
    for _ in 0..3 {
        login = app.refresh(&login.refresh, None).await;
    }
    assert!(!opened.is_finished());
    other.execute("COMMIT").await.unwrap();
    opened.await.unwrap().unwrap().close().await;
    let indexes = "SELECT count(*) FROM pg_indexes WHERE indexname = 'sessions_by_pepper'";
    assert_eq!(app.db_value::<i64>(indexes).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn a_database_that_falls_silent_while_it_is_opened_holds_up_no_command() {
    let app = spawn_app_on(Backend::Postgres, |_| {}).await;
    let proxy = Proxy::start(&app.url()).await;
    // The list of the migrations that are done.
    proxy.fall_silent_at("checksum\0");
    let far = database_url(&proxy.url());
    let opened = store::open(&far, Missing::Refuse);
    let refused = tokio::time::timeout(Duration::from_secs(30), opened).await.expect("no bound").unwrap_err();
    assert!(matches!(refused, OpenError::Migration { .. }), "{refused:?}");
    assert!(refused.hint().unwrap().contains("whether it can be reached"), "{refused:?}");
    // Whoever was cut off keeps no other server from starting.
    store::open(&app.config.database, Missing::Refuse).await.unwrap().close().await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn a_migration_that_waits_in_vain_says_for_whom() {
    let app = spawn_app_on(Backend::Postgres, |_| {}).await;
    let (mut one, mut other) = (connect(&app.url()).await, connect(&app.url()).await);
    one.execute("BEGIN; LOCK TABLE sessions").await.unwrap();
    other.execute("SET lock_timeout = '10ms'").await.unwrap();
    let hint = |error| {
        let source = MigrateError::ExecuteMigration(error, 6);
        OpenError::Migration { database: app.config.database.clone(), source }.hint().unwrap()
    };
    let waited = other.execute("DROP INDEX sessions_by_pepper").await.unwrap_err();
    assert!(hint(waited).contains("pg_dump"));
    one.execute("ROLLBACK").await.unwrap();
    let refused = other.execute("SET ROLE pg_monitor; DROP INDEX sessions_by_pepper").await.unwrap_err();
    assert!(hint(refused).contains("must be allowed to make tables"));
}
