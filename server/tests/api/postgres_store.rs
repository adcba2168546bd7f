//! What only PostgreSQL can do to us: several servers at once, connections that break, defaults of somebody else.

use std::time::{Duration, Instant};

use authcli_server::domain::{AttemptHash, Generation, KeyId, Lifetimes, SessionId, Username};
use authcli_server::ports::{
    KnownPepper, NewSession, PasswordHash, PepperId, Reuse, Rotation, SealedKey, Store, StoreError,
};
use authcli_server::store::{self, Missing, OpenError};
use futures_util::future::join_all;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use crate::helpers::{Backend, TestApp, eventually, spawn_app_on, tokens};
use crate::postgres::{Cluster, connect, database_url};
use crate::proxy::Proxy;

const ID: SessionId = SessionId([7; 16]);

async fn execute(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap();
}

async fn session(store: &dyn Store, lifetimes: Lifetimes) -> NewSession {
    let user = store.login(&Username::parse("admin").unwrap()).await.unwrap().unwrap();
    NewSession { id: ID, user_id: user.user_id, epoch: user.epoch, salt: [1; 32], pepper_id: PepperId(1), lifetimes }
}

fn rotation(presented: i64, seed: u8) -> Rotation {
    Rotation {
        session: ID,
        presented: Generation::new(presented).unwrap(),
        attempt: AttemptHash::from_bytes(&[seed; 32]).unwrap(),
        keyless: false,
        idle: Duration::from_hours(1),
    }
}

/// The first pepper of a database, as one of several servers has it.
fn pepper(number: u8) -> KnownPepper {
    KnownPepper { id: PepperId(1), check_value: vec![number; 32], throttle_key: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn servers_that_start_at_once_migrate_once_and_agree_on_pepper_and_key() {
    for _ in 0..3 {
        let url = Cluster::shared().database().await;
        let database = database_url(&url);
        let started = join_all((0..8_u8).map(|number| {
            let database = &database;
            async move {
                let store = store::open(database, Missing::Refuse).await.unwrap();
                store.add_pepper(&pepper(number)).await.unwrap();
                let peppers = store.known_peppers().await.unwrap();
                let id = KeyId(format!("key-{number}"));
                let key = SealedKey { id, sealed: vec![number], pepper_id: PepperId(1) };
                store.add_first_signing_key(&key).await.unwrap();
                let keys = store.signing_keys().await.unwrap();
                store.close().await;
                (peppers, keys.keys.into_iter().map(|key| key.key.id.0).collect::<Vec<_>>())
            }
        }))
        .await;
        assert_eq!((started[0].0.len(), started[0].1.len()), (1, 1));
        assert!(started.iter().all(|one| *one == started[0]), "{started:?}");
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn a_newer_schema_is_refused() {
    let url = Cluster::shared().database().await;
    store::open(&database_url(&url), Missing::Create).await.unwrap().close().await;
    let future = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                  VALUES (999, 'from the future', true, '', 0)";
    execute(&mut connect(&url).await, future).await;
    for _ in 0..2 {
        let refused = store::open(&database_url(&url), Missing::Create).await.unwrap_err();
        assert!(matches!(refused, OpenError::NewerSchema(_)), "{refused:?}");
    }
}

/// The password changes after it was verified and before the session is there, in a transaction that is still open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn a_login_waits_for_a_password_change_that_is_under_way() {
    let app = spawn_app_on(Backend::Postgres, |_| {}).await;
    let (store, url) = (app.store().await, app.url());
    let session = session(&*store, app.config.lifetimes).await;
    let mut change = connect(&url).await;
    execute(&mut change, "BEGIN; UPDATE users SET epoch = epoch + 1 WHERE name = 'admin'").await;
    let login = tokio::spawn({
        let store = app.store().await;
        async move { store.open_session(session).await }
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("the login waits", async || app.db_value::<i64>(waits).await == 1).await;
    execute(&mut change, "UPDATE sessions SET revoked_at = 1; COMMIT").await;
    assert!(login.await.unwrap().unwrap().is_none());
    assert!(store.session(ID).await.unwrap().is_none());
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn a_refresh_writes_no_index_and_refreshes_grow_nothing() {
    // One's own: rows that are out of date are kept for as long as any transaction of the cluster might look at them.
    let cluster = Cluster::start();
    let url = cluster.database().await;
    let store = store::open(&database_url(&url), Missing::Create).await.unwrap();
    let admin = Username::parse("admin").unwrap();
    store.add_user(&admin, &PasswordHash(String::new()), None).await.unwrap().unwrap();
    store.add_pepper(&pepper(1)).await.unwrap();
    let day = Duration::from_hours(24);
    let lifetimes = Lifetimes { access: day, refresh: day, session: day };
    store.open_session(session(&*store, lifetimes).await).await.unwrap().unwrap();
    let mut operator = connect(&url).await;
    let indexed = "SELECT string_agg(DISTINCT attname, ',' ORDER BY attname) FROM pg_index
                   JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
                   WHERE indrelid = 'sessions'::regclass";
    let indexed: String = sqlx::query(indexed).fetch_one(&mut operator).await.unwrap().get(0);
    assert_eq!(indexed, "id,pepper_id,user_id");
    for presented in 0..1000 {
        store.rotate(rotation(presented, 1)).await.unwrap().unwrap();
    }
    let sizes = "SELECT pg_relation_size('sessions') / 8192, pg_indexes_size('sessions') / 8192";
    let sizes = sqlx::query(sizes).fetch_one(&mut operator).await.unwrap();
    // One row, and no vacuum came. An index has a page of its own to begin with.
    assert_eq!((sizes.get::<i64, _>(0), sizes.get::<i64, _>(1)), (1, 6));
    store.close().await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn what_a_commit_promises_does_not_depend_on_the_databases_defaults() {
    let app = spawn_app_on(Backend::Postgres, |_| {}).await;
    let url = app.url();
    let mut operator = connect(&url).await;
    for setting in ["synchronous_commit = off", "default_transaction_isolation = 'serializable'"] {
        let name: String = sqlx::query("SELECT current_database()").fetch_one(&mut operator).await.unwrap().get(0);
        execute(&mut operator, &format!("ALTER DATABASE {name} SET {setting}")).await;
    }
    execute(
        &mut operator,
        "CREATE TABLE seen (settings TEXT);
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO seen VALUES (current_setting('synchronous_commit') || ', '
                 || current_setting('transaction_isolation'));
             RETURN NEW;
         END $$;
         CREATE TRIGGER see BEFORE UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION see()",
    )
    .await;
    let store = app.store().await;
    store.open_session(session(&*store, app.config.lifetimes).await).await.unwrap().unwrap();
    store.rotate(rotation(0, 0)).await.unwrap().unwrap();
    assert_eq!(app.db_value::<String>("SELECT settings FROM seen").await, "on, read committed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn connections_that_the_database_ends_cost_nobody_an_answer() {
    const KEY: Option<&str> = Some("the-same-attempt-in-every-round");

    let app = spawn_app_on(Backend::Postgres, |_| {}).await;
    let logins = join_all((0..16).map(|_| app.login())).await;
    let mut operator = connect(&app.url()).await;
    for round in 0..5 {
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let ended: i64 = sqlx::query(end).fetch_one(&mut operator).await.unwrap().get(0);
        assert!(ended > 0, "round {round}");
        for login in &logins {
            // Asks the database each time; a protected call would be answered from memory.
            assert_eq!(app.refresh_status(&login.refresh, KEY).await, 200, "round {round}");
        }
    }
    let refreshed = join_all(logins.iter().map(|login| app.refresh_status(&login.refresh, KEY))).await;
    assert_eq!(refreshed, [200; 16]);
}

/// The connection breaks after the commit and before its answer: the statement is run again and recognises itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn a_commit_whose_answer_is_lost_counts_once() {
    let app = spawn_app_on(Backend::Postgres, |_| {}).await;
    let proxy = Proxy::start(&app.url()).await;
    let far = app.sibling_through(&proxy.url()).await;

    // A login.
    proxy.lose_answer_to("INSERT 0 1\0");
    let login = far.login().await;
    assert!(proxy.has_lost_one());
    assert_eq!(app.db_value::<i64>("SELECT count(*) FROM sessions").await, 1);
    assert_eq!(app.protected_status(&login.access).await, 200);

    // A refresh, of a client that sends no key: the successor is the one that was committed, and the only one.
    proxy.lose_answer_to("UPDATE 1\0");
    let next = far.refresh(&login.refresh, None).await;
    assert!(proxy.has_lost_one());
    assert_eq!(app.db_session::<i64>("generation").await, 1);
    let next = tokens(app.post_refresh(&next.refresh, Some("an-attempt-of-the-owner")).await).await;
    assert_eq!(app.db_session::<i64>("generation").await, 2);

    // A revocation: whoever asked for it is told that it happened.
    let store = far.store().await;
    let id: Vec<u8> = app.db_session("id").await;
    let reuse = Reuse {
        session: SessionId(id.try_into().unwrap()),
        presented: Generation::FIRST,
        attempt: AttemptHash::from_bytes(&[9; 32]).unwrap(),
        repeat_window: Duration::ZERO,
    };
    proxy.lose_answer_to("UPDATE 1\0");
    assert!(store.revoke_reused(reuse).await.unwrap());
    assert!(proxy.has_lost_one());
    assert!(!store.revoke_reused(reuse).await.unwrap(), "once");
    assert_eq!(app.refresh_status(&next.refresh, None).await, 403);
}

/// A network that swallows everything: no connection breaks, and no answer comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn a_database_that_falls_silent_is_unavailable_and_not_for_ever() {
    let app = spawn_app_on(Backend::Postgres, |_| {}).await;
    let proxy = Proxy::start(&app.url()).await;
    let far = app.sibling_through(&proxy.url()).await;
    let login = far.login().await;
    let key = Some("an-attempt-of-the-owner");
    proxy.keep_silent(true);
    let started = Instant::now();
    assert_eq!(far.refresh_status(&login.refresh, key).await, 503);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    proxy.keep_silent(false);
    eventually("service", async || far.refresh_status(&login.refresh, key).await == 200).await;
    assert_eq!(app.db_session::<i64>("generation").await, 1);
}

/// More calls than there are connections wait for shorter than the store itself does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn a_database_that_falls_silent_under_load_costs_no_connection() {
    let app = spawn_app_on(Backend::Postgres, |_| {}).await;
    let proxy = Proxy::start(&app.url()).await;
    let far = app.sibling_through(&proxy.url()).await;
    let logins = join_all((0..40).map(|_| app.login())).await;
    proxy.keep_silent(true);
    let calls = join_all(logins.iter().map(|login| far.protected_status(&login.access))).await;
    assert_eq!(calls, [503; 40]);
    proxy.keep_silent(false);
    let ready = async || far.request(reqwest::Method::GET, "/readyz").send().await.unwrap().status() == 200;
    eventually("readiness", ready).await;
    eventually("service", async || {
        let calls = join_all(logins.iter().map(|login| far.protected_status(&login.access))).await;
        calls.iter().all(|status| *status == 200)
    })
    .await;
}

/// The silence begins in the middle of load: statements have been answered, and their connections are being given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn connections_that_are_given_back_into_a_silence_keep_no_place_and_hold_up_no_stop() {
    let proxy = Proxy::start(&Cluster::shared().database().await).await;
    let store = store::open(&database_url(&proxy.url()), Missing::Create).await.unwrap();
    proxy.keep_silent_after_statements();
    // As many as there are connections, and once more.
    for round in 0..2 {
        let served = join_all((0..16).map(|_| store.ping())).await;
        assert!(served.iter().all(Result::is_ok), "round {round}: {served:?}");
    }
    let stopped = tokio::time::timeout(Duration::from_secs(20), store.close()).await;
    assert!(stopped.is_ok(), "what is given back is waited for without a bound");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn a_database_that_lets_nobody_in_is_unavailable_until_it_does() {
    let app = spawn_app_on(Backend::Postgres, |_| {}).await;
    let login = app.login().await;
    let url = app.url();
    let name = url.strip_prefix("postgres:///").unwrap().split_once('?').unwrap().0;
    let mut operator = connect(&url.replacen(name, "postgres", 1)).await;
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    let key = Some("an-attempt-of-the-owner");
    execute(&mut operator, &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
    execute(&mut operator, &end).await;
    assert_eq!(app.refresh_status(&login.refresh, key).await, 503, "it takes no connections");
    execute(&mut operator, &format!("ALTER DATABASE {name} RENAME TO elsewhere")).await;
    assert_eq!(app.refresh_status(&login.refresh, key).await, 503, "it is not there");
    execute(&mut operator, &format!("ALTER DATABASE elsewhere RENAME TO {name}")).await;
    execute(&mut operator, &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
    assert_eq!(app.refresh_status(&login.refresh, key).await, 200);
}

/// The database refuses an update with such an error so many times.
async fn refuse_updates(app: &TestApp, code: &str, times: u32) {
    let refuse = format!(
        "DROP SEQUENCE IF EXISTS updates; CREATE SEQUENCE updates;
         CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('updates') <= {times} THEN RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END IF;
             RETURN NEW;
         END $$;
         CREATE OR REPLACE TRIGGER refuse BEFORE UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION refuse()"
    );
    execute(&mut connect(&app.url()).await, &refuse).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn a_conflict_is_tried_again_a_full_disk_is_unavailable_and_a_fault_is_a_fault() {
    let app = spawn_app_on(Backend::Postgres, |_| {}).await;
    let store = app.store().await;
    store.open_session(session(&*store, app.config.lifetimes).await).await.unwrap().unwrap();
    for (presented, code) in (0..).zip(["40001", "40P01"]) {
        refuse_updates(&app, code, 2).await;
        assert!(store.rotate(rotation(presented, 1)).await.unwrap().is_some(), "{code}");
    }
    for (code, unavailable) in [("53100", true), ("53200", true), ("57014", true), ("22012", false), ("XX000", false)] {
        refuse_updates(&app, code, 1).await;
        let error = store.rotate(rotation(2, 1)).await.unwrap_err();
        assert_eq!(matches!(error, StoreError::Unavailable(_)), unavailable, "{code}: {error:?}");
        assert_eq!(app.db_value::<i64>("SELECT last_value FROM updates").await, 1, "{code}: once");
    }
    refuse_updates(&app, "40001", 99).await;
    let error = store.rotate(rotation(2, 1)).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn a_row_that_somebody_keeps_locked_is_unavailable_and_not_for_ever() {
    let app = spawn_app_on(Backend::Postgres, |_| {}).await;
    let login = app.login().await;
    let mut other = connect(&app.url()).await;
    execute(&mut other, "BEGIN; UPDATE sessions SET keyless = keyless").await;
    assert_eq!(app.refresh_status(&login.refresh, Some("an-attempt-of-the-owner")).await, 503);
    execute(&mut other, "ROLLBACK").await;
    assert_eq!(app.refresh_status(&login.refresh, Some("an-attempt-of-the-owner")).await, 200);
}
