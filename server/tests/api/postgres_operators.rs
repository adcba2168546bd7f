//! What operators do on PostgreSQL, where it takes long, and where nobody answers.

use std::time::{Duration, Instant};

use authcli_server::domain::{KeyId, Password, SessionId, UnixMillis, Username};
use authcli_server::password::Passwords;
use authcli_server::ports::{Forgotten, PepperId, SealedKey, SessionSelection, StoreError};
use authcli_server::store::{self, Missing};
use futures_util::future::join_all;

use crate::helpers::{Backend, CHEAP, TestApp, eventually, spawn_app_on};
use crate::postgres::{connect, database_url};
use crate::proxy::Proxy;

/// Each change of a row takes a millisecond here, and all of them longer than a statement may.
async fn slow_and_crowded() -> TestApp {
    let app = spawn_app_on(Backend::Postgres, |_| {}).await;
    app.login().await;
    app.db_fill_sessions(10_500).await;
    app.db_run(
        "CREATE FUNCTION take_time() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             PERFORM pg_sleep(0.001); RETURN COALESCE(NEW, OLD);
         END $$;
         CREATE TRIGGER take_time BEFORE UPDATE OR DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION take_time()",
    )
    .await;
    app
}

fn admin() -> Username {
    Username::parse("admin").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn an_operator_revokes_more_sessions_than_one_statement_has_time_for() {
    let everything = SessionSelection { opened_before: Some(UnixMillis(i64::MAX)), ..SessionSelection::default() };
    let of_a_user = SessionSelection { user: Some(admin()), ..SessionSelection::default() };
    join_all([everything, of_a_user].map(async |selection| {
        let app = slow_and_crowded().await;
        let login = app.login().await;
        let store = app.store().await;
        assert_eq!(store.revoke_sessions(&selection).await.unwrap(), 10_501, "{selection:?}");
        assert_eq!(app.refresh_status(&login.refresh, None).await, 403, "{selection:?}");
        assert_eq!(store.revoke_sessions(&selection).await.unwrap(), 0, "{selection:?}");
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn an_operator_forgets_a_pepper_with_more_sessions_than_one_statement_has_time_for() {
    let app = slow_and_crowded().await;
    let login = app.login().await;
    let store = app.store().await;
    let forgotten = store.forget_pepper(PepperId(1), None).await.unwrap();
    assert_eq!(forgotten, Some(Forgotten { sessions: 10_501, keys: 1 }));
    assert_eq!(app.refresh_status(&login.refresh, None).await, 403);
    assert_eq!(store.forget_pepper(PepperId(1), None).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn a_user_with_more_sessions_than_one_statement_has_time_for_is_changed_all_the_same() {
    let changed = join_all(["disable", "password", "remove"].map(async |change| {
        let app = slow_and_crowded().await;
        let store = app.store().await;
        let password = Password::presented("another".to_owned());
        let hash = Passwords::new(CHEAP).unwrap().hash(password).await.unwrap();
        let ended = match change {
            "disable" => store.disable_user(&admin()).await,
            "password" => store.set_password(&admin(), &hash).await,
            _ => store.remove_user(&admin()).await,
        };
        ended.map(|ended| ended.map(|ended| ended.sessions))
    }));
    for ended in changed.await {
        assert_eq!(ended.unwrap(), Some(10_500));
    }
}

/// Nobody may believe that a user is disabled who is not, nor the other way round.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn an_operator_whose_commit_is_not_answered_is_told_that_nobody_knows() {
    join_all([("broken", true), ("silent", true), ("not begun", false)].map(async |(name, committed)| {
        let fault = |proxy: &Proxy| match name {
            "broken" => proxy.lose_answer_to("COMMIT\0"),
            "silent" => proxy.fall_silent_at("COMMIT\0"),
            _ => proxy.fall_silent_at("BEGIN\0"),
        };
        let app = spawn_app_on(Backend::Postgres, |_| {}).await;
        let proxy = Proxy::start(&app.url()).await;
        let store = store::open(&database_url(&proxy.url()), Missing::Refuse).await.unwrap();
        let expect = |error: StoreError| match error {
            StoreError::Unknown(_) => assert!(committed, "{name}"),
            StoreError::Unavailable(_) => assert!(!committed, "{name}"),
            StoreError::Unexpected(_) => panic!("{name}: {error:?}"),
        };
        let soon = Duration::from_secs(30);
        fault(&proxy);
        let disabled = tokio::time::timeout(soon, store.disable_user(&admin())).await;
        expect(disabled.unwrap_or_else(|_| panic!("{name}: no bound")).unwrap_err().source);
        let is_disabled = "SELECT (disabled_at IS NOT NULL)::int::bigint FROM users WHERE name = 'admin'";
        assert_eq!(app.db_value::<i64>(is_disabled).await == 1, committed, "{name}");

        proxy.keep_silent(false);
        eventually("service", async || store.ping().await.is_ok()).await;
        let key = SealedKey { id: KeyId("new".to_owned()), sealed: vec![1], pepper_id: PepperId(1) };
        fault(&proxy);
        let announced = tokio::time::timeout(soon, store.announce_signing_key(&key, soon)).await;
        expect(announced.unwrap_or_else(|_| panic!("{name}: no bound")).unwrap_err());
        let is_there = "SELECT count(*) FROM signing_keys WHERE kid = 'new'";
        assert_eq!(app.db_value::<i64>(is_there).await == 1, committed, "{name}");
    }))
    .await;
}

/// The tables of a server that is busy are large, and a walk through all of them would disturb it for nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn one_session_is_revoked_without_a_look_at_the_others() {
    let app = spawn_app_on(Backend::Postgres, |_| {}).await;
    app.login().await;
    let id: Vec<u8> = app.db_session("id").await;
    app.db_fill_sessions(5000).await;
    app.db_run("ANALYZE sessions").await;
    let url = app.url();
    // Its sweep looks at sessions as well.
    drop(app);
    let mut connection = connect(&url).await;
    // What a connection has counted is known to others when it is closed.
    let mut looked_at = async || {
        let started = Instant::now();
        let counts = "SELECT COALESCE(seq_tup_read, 0) + COALESCE(idx_tup_fetch, 0), (SELECT count(*)
                          FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid())
                      FROM pg_stat_user_tables WHERE relname = 'sessions'";
        loop {
            let (rows, others): (i64, i64) = sqlx::query_as(counts).fetch_one(&mut connection).await.unwrap();
            if others == 0 {
                return rows;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "{others} connections stay");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let before = looked_at().await;
    let store = store::open(&database_url(&url), Missing::Refuse).await.unwrap();
    let one = SessionSelection { id: Some(SessionId(id.try_into().unwrap())), ..SessionSelection::default() };
    assert_eq!(store.revoke_sessions(&one).await.unwrap(), 1);
    store.close().await;
    let rows = looked_at().await - before;
    assert!(rows < 100, "{rows}");
}
