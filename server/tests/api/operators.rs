//! What operators do to many sessions at once, beside running servers.

use authcli_server::domain::{Password, SessionId, UnixMillis, Username};
use authcli_server::password::Passwords;
use authcli_server::ports::{LoggedOut, SessionSelection};
use serde_json::json;

use crate::helpers::{Backend, CHEAP, TestApp, Tokens, eventually, on_both_stores, spawn_app_on, tokens};
use crate::program::{Place, refused};

on_both_stores!(
    more_sessions_than_a_step_takes_are_revoked_and_nobody_elses,
    a_user_with_more_sessions_than_a_step_takes_is_changed_with_all_of_them,
    what_has_ended_by_itself_is_not_counted,
    a_revocation_that_fails_on_its_way_says_how_far_it_came,
    a_change_of_a_user_that_fails_on_its_way_says_so_and_changes_nothing_else,
    a_database_that_others_keep_busy_is_told_from_one_that_is_away,
);

/// More than two steps of any store, and no whole number of them.
const MANY: u32 = 2300;

/// A server with many sessions of `admin` and one of `user2`.
async fn crowded(backend: Backend) -> TestApp {
    let app = spawn_app_on(backend, |_| {}).await;
    app.login().await;
    app.db_fill_sessions(MANY).await;
    login_as_user2(&app).await;
    app
}

async fn login_as_user2(app: &TestApp) -> Tokens {
    tokens(app.post("/login", &json!({ "username": "user2", "password": "password2" })).await).await
}

fn user(name: &str) -> Username {
    Username::parse(name).unwrap()
}

async fn unrevoked(app: &TestApp, user: i64) -> i64 {
    app.db_value(&format!("SELECT count(*) FROM sessions WHERE user_id = {user} AND revoked_at IS NULL")).await
}

async fn more_sessions_than_a_step_takes_are_revoked_and_nobody_elses(backend: Backend) {
    let many = u64::from(MANY);
    let before = Some(UnixMillis(i64::MAX));
    let of_admin = SessionSelection { user: Some(user("admin")), ..SessionSelection::default() };
    let of_admin_before = SessionSelection { opened_before: before, ..of_admin.clone() };
    let all = SessionSelection { opened_before: before, ..SessionSelection::default() };
    for (selection, ended, left) in [(of_admin, many, 1), (of_admin_before, many, 1), (all, many + 1, 0)] {
        let app = crowded(backend).await;
        let store = app.store().await;
        let long_ago = SessionSelection { opened_before: Some(UnixMillis(1)), ..selection.clone() };
        assert_eq!(store.revoke_sessions(&long_ago).await.unwrap(), 0, "{selection:?}");
        let none = SessionSelection { id: Some(SessionId([0; 16])), ..selection.clone() };
        assert_eq!(store.revoke_sessions(&none).await.unwrap(), 0, "{selection:?}");
        assert_eq!(store.revoke_sessions(&selection).await.unwrap(), ended, "{selection:?}");
        assert_eq!((unrevoked(&app, 1).await, unrevoked(&app, 2).await), (0, left), "{selection:?}");
        store.close().await;
    }
}

async fn a_user_with_more_sessions_than_a_step_takes_is_changed_with_all_of_them(backend: Backend) {
    let admin = user("admin");
    let hash = Passwords::new(CHEAP).unwrap().hash(Password::presented("another".to_owned())).await.unwrap();
    for change in ["disable", "password", "remove"] {
        let app = crowded(backend).await;
        let store = app.store().await;
        let ended = match change {
            "disable" => store.disable_user(&admin).await,
            "password" => store.set_password(&admin, &hash).await,
            _ => store.remove_user(&admin).await,
        };
        let ended = ended.unwrap().unwrap();
        assert_eq!((ended.user_id.0, ended.sessions), (1, u64::from(MANY)), "{change}");
        assert_eq!((unrevoked(&app, 1).await, unrevoked(&app, 2).await), (0, 1), "{change}");
        store.close().await;
    }
}

async fn what_has_ended_by_itself_is_not_counted(backend: Backend) {
    let admin = user("admin");
    let none = |ended: LoggedOut| assert_eq!(ended.sessions, 0);
    let app = spawn_app_on(backend, |_| {}).await;
    let store = app.store().await;
    app.login().await;
    app.db_execute("UPDATE sessions SET idle_expires_at = created_at").await;
    none(store.disable_user(&admin).await.unwrap().unwrap());
    assert_eq!(unrevoked(&app, 1).await, 0, "a clock that was wrong must not bring it back");
    none(store.remove_user(&admin).await.unwrap().unwrap());
    store.close().await;
}

/// Each revocation takes milliseconds here, and all of them longer than the server waits for the file's lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_beside_a_long_revocation_in_its_file_goes_on() {
    const WORK: &str = "CREATE TRIGGER take_time BEFORE UPDATE ON sessions WHEN NEW.revoked_at IS NOT NULL BEGIN
        SELECT count(*) FROM (WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < 5000)
                              SELECT n FROM n); END";
    let app = spawn_app_on(Backend::Sqlite, |_| {}).await;
    app.login().await;
    app.db_fill_sessions(20_000).await;
    let mut login = login_as_user2(&app).await;
    app.db_run(WORK).await;
    let store = app.store().await;
    let everything_of_admin = SessionSelection { user: Some(user("admin")), ..SessionSelection::default() };
    let revocation = tokio::spawn(async move { store.revoke_sessions(&everything_of_admin).await });
    eventually("its first step", async || unrevoked(&app, 1).await < 20_000).await;
    for _ in 0..5 {
        login = app.refresh(&login.refresh, None).await;
    }
    assert!(
        !revocation.is_finished() && unrevoked(&app, 1).await > 0,
        "it took too little time to be in anybody's way"
    );
    revocation.abort();
}

/// The last of the sessions cannot be changed: what was done before it stays done, and the operator learns how much.
async fn a_revocation_that_fails_on_its_way_says_how_far_it_came(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    app.login().await;
    app.db_fill_sessions(1500).await;
    let last = "(SELECT id FROM sessions ORDER BY id DESC LIMIT 1)";
    let refuse = match backend {
        Backend::Sqlite => format!(
            "CREATE TRIGGER refuse BEFORE UPDATE ON sessions WHEN NEW.id = {last} AND NEW.revoked_at IS NOT NULL
             BEGIN SELECT RAISE(ABORT, 'refused'); END"
        ),
        Backend::Postgres => format!(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF NEW.id = {last} AND NEW.revoked_at IS NOT NULL THEN RAISE EXCEPTION 'refused'; END IF;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER refuse BEFORE UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION refuse()"
        ),
    };
    app.db_run(&refuse).await;
    let revoke = || {
        let database = app.database_argument();
        Place::new().run(&["sessions", "revoke", "--before=2999-01-01T00:00:00Z", "--database", &database])
    };
    let failed = revoke();
    let stderr = String::from_utf8(failed.stderr).unwrap();
    assert_eq!((failed.status.code(), failed.stdout.as_slice()), (Some(1), &b""[..]), "{stderr}");
    assert!(stderr.contains("WARN sessions revoked by the operator count=1000 "), "{stderr}");
    assert!(stderr.contains("error: stopped after 1000 sessions had been revoked\n"), "{stderr}");
    assert!(stderr.contains("Caused by: ") && stderr.contains("\nhint: run it again"), "{stderr}");
    assert_eq!(unrevoked(&app, 1).await, 500);
    let undo = if backend == Backend::Sqlite { "DROP TRIGGER refuse" } else { "DROP TRIGGER refuse ON sessions" };
    app.db_run(undo).await;
    assert_eq!(String::from_utf8(revoke().stdout).unwrap(), "500 sessions revoked\n");
}

async fn a_database_that_others_keep_busy_is_told_from_one_that_is_away(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let database = app.database_argument();
    let disable = || Place::new().run(&["user", "disable", "admin", "--database", &database]);
    let stderr = app.db_while_locked("users", async || refused(&disable(), 1)).await;
    assert!(stderr.contains("hint: others keep it busy, or locked"), "{stderr}");
    let ended = disable();
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
}

async fn a_change_of_a_user_that_fails_on_its_way_says_so_and_changes_nothing_else(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    app.login().await;
    app.db_fill_sessions(20).await;
    app.db_run(match backend {
        Backend::Sqlite => {
            "CREATE TRIGGER refuse BEFORE UPDATE ON users BEGIN SELECT RAISE(ABORT, 'refused'); END;
             CREATE TRIGGER refuse_removal BEFORE DELETE ON users BEGIN SELECT RAISE(ABORT, 'refused'); END"
        }
        Backend::Postgres => {
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
             CREATE TRIGGER refuse BEFORE UPDATE OR DELETE ON users FOR EACH ROW EXECUTE FUNCTION refuse()"
        }
    })
    .await;
    let sessions = async || app.db_value::<i64>("SELECT count(*) FROM sessions").await;
    for (change, revoked, left) in [("disable", 20, 20), ("disable", 0, 20), ("remove", 0, 0)] {
        let failed = Place::new().run(&["user", change, "admin", "--database", &app.database_argument()]);
        let stderr = String::from_utf8(failed.stderr).unwrap();
        assert_eq!(failed.status.code(), Some(1), "{stderr}");
        let said = format!("WARN sessions of a user revoked by the operator count={revoked}\n");
        assert_eq!(stderr.contains(&said), revoked > 0, "{stderr}");
        let said = format!("error: stopped after {revoked} sessions had been revoked\n");
        assert_eq!(stderr.contains(&said), revoked > 0, "{stderr}");
        assert_eq!((unrevoked(&app, 1).await, sessions().await), (0, left), "{change}");
    }
    let enabled = app.store().await.users().await.unwrap().iter().filter(|user| user.enabled).count();
    assert_eq!(enabled, 2);
}
