//! What happens to sessions when something happens to their user, also at the very moment of a login.

use std::sync::Arc;

use authcli_server::domain::{Lifetimes, Password, SessionId, Username};
use authcli_server::password::{PasswordCost, Passwords};
use authcli_server::ports::{LoggedOut, NewSession, PepperId, Store, UnfinishedRevocation};
use serde_json::json;

use crate::helpers::{Backend, CHEAP, TestApp, on_both_stores, spawn_app_on};

on_both_stores!(
    r11_a_changed_password_ends_all_sessions_at_once,
    r11_a_disabled_user_is_refused_everywhere,
    r11_to_disable_a_user_ends_its_sessions_for_good,
    r11_a_removed_user_takes_its_sessions_along_and_its_number_is_not_given_again,
    a_login_that_verified_the_old_password_opens_no_session,
    a_right_login_renews_a_hash_of_other_parameters_and_ends_no_session,
    a_changed_password_is_not_undone_by_a_login_that_renews_the_old_hash,
);

fn admin() -> Username {
    Username::parse("admin").unwrap()
}

/// Returns whose logins ended, and how many sessions lived until then.
fn ended(answer: Result<Option<LoggedOut>, UnfinishedRevocation>) -> Option<(i64, u64)> {
    answer.unwrap().map(|ended| (ended.user_id.0, ended.sessions))
}

async fn change_password(store: &Arc<dyn Store>, password: &str) {
    let password = Password::presented(password.to_owned());
    let hash = Passwords::new(CHEAP).unwrap().hash(password).await.unwrap();
    assert!(store.set_password(&admin(), &hash).await.unwrap().is_some());
}

async fn r11_a_changed_password_ends_all_sessions_at_once(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let login = app.login().await;
    change_password(&app.store().await, "new").await;
    assert_eq!(app.refresh_status(&login.refresh, None).await, 403);
    assert_eq!(app.protected_status(&login.access).await, 403);
    let try_login = async |password: &str| {
        let body = json!({ "username": "admin", "password": password });
        app.post("/login", &body).await.status().as_u16()
    };
    assert_eq!(try_login("123456").await, 401);
    assert_eq!(try_login("new").await, 200);
}

async fn r11_a_disabled_user_is_refused_everywhere(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let login = app.login().await;
    app.db_execute("UPDATE users SET disabled_at = 1").await;
    assert_eq!(app.refresh_status(&login.refresh, None).await, 403);
    assert_eq!(app.protected_status(&login.access).await, 403);
    let body = json!({ "username": "admin", "password": "123456" });
    assert_eq!(app.post("/login", &body).await.status(), 401);
    assert_eq!(app.db_session::<i64>("generation").await, 0);
}

async fn r11_to_disable_a_user_ends_its_sessions_for_good(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let store = app.store().await;
    let verified = store.login(&admin()).await.unwrap().unwrap();
    let before = app.login().await;
    let nobody = Username::parse("nobody").unwrap();
    assert!(store.disable_user(&nobody).await.unwrap().is_none() && !store.enable_user(&nobody).await.unwrap());
    assert_eq!(ended(store.disable_user(&admin()).await), Some((1, 1)));
    assert_eq!(app.refresh_status(&before.refresh, None).await, 403);
    assert_eq!(app.protected_status(&before.access).await, 403);
    assert_eq!(login_status(&app, "admin", "123456").await, 401);
    assert_eq!(login_status(&app, "user2", "password2").await, 200, "another user is not concerned");
    let since = "SELECT disabled_at FROM users WHERE name = 'admin'";
    let first = app.db_value::<i64>(since).await;
    assert_eq!(ended(store.disable_user(&admin()).await), Some((1, 0)));
    assert_eq!(app.db_value::<i64>(since).await, first, "it is since then");

    assert!(store.enable_user(&admin()).await.unwrap());
    assert_eq!(app.refresh_status(&before.refresh, None).await, 403);
    assert_eq!(app.protected_status(&before.access).await, 403);
    let reason = "SELECT revoked_reason FROM sessions WHERE user_id = 1";
    assert_eq!(app.db_value::<String>(reason).await, "user disabled");
    // A login that had verified the password before is of another epoch.
    let late = NewSession {
        id: SessionId([1; 16]),
        user_id: verified.user_id,
        epoch: verified.epoch,
        salt: [0; 32],
        pepper_id: PepperId(1),
        lifetimes: app.config.lifetimes,
    };
    assert!(store.open_session(late).await.unwrap().is_none());
    assert_eq!(login_status(&app, "admin", "123456").await, 200);
}

async fn r11_a_removed_user_takes_its_sessions_along_and_its_number_is_not_given_again(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let login = app.login().await;
    let store = app.store().await;
    let user2 = Username::parse("user2").unwrap();
    assert_eq!(ended(store.remove_user(&user2).await), Some((2, 0)));
    assert_eq!(ended(store.remove_user(&admin()).await), Some((1, 1)));
    assert_eq!(ended(store.remove_user(&admin()).await), None);
    assert_eq!(app.refresh_status(&login.refresh, None).await, 403);
    assert_eq!(app.protected_status(&login.access).await, 403);
    let hash = Passwords::new(CHEAP).unwrap().hash(Password::presented("x".to_owned())).await.unwrap();
    let id = store.add_user(&admin(), &hash, None).await.unwrap().unwrap();
    assert_eq!(id.0, 3);
    assert_eq!(app.protected_status(&login.access).await, 403);
}

/// The password is changed between its verification and the opening of the session.
async fn a_login_that_verified_the_old_password_opens_no_session(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let store = app.store().await;
    let verified = store.login(&admin()).await.unwrap().unwrap();
    let session = |id: u8, epoch| NewSession {
        id: SessionId([id; 16]),
        user_id: verified.user_id,
        epoch,
        salt: [0; 32],
        pepper_id: PepperId(1),
        lifetimes: Lifetimes { ..app.config.lifetimes },
    };
    assert!(store.open_session(session(1, verified.epoch)).await.unwrap().is_some());
    change_password(&store, "new").await;
    assert!(store.open_session(session(2, verified.epoch)).await.unwrap().is_none());
    let now = store.login(&admin()).await.unwrap().unwrap();
    assert!(store.open_session(session(3, now.epoch)).await.unwrap().is_some());
    app.db_execute("UPDATE users SET disabled_at = 1").await;
    assert!(store.open_session(session(4, now.epoch)).await.unwrap().is_none());
    assert!(store.login(&admin()).await.unwrap().is_none());
}

async fn login_status(app: &TestApp, name: &str, password: &str) -> u16 {
    app.post("/login", &json!({ "username": name, "password": password })).await.status().as_u16()
}

async fn stored_hash(app: &TestApp, name: &str) -> String {
    app.db_value(&format!("SELECT password_hash FROM users WHERE name = '{name}'")).await
}

const DEARER: PasswordCost = PasswordCost { memory_kib: 16, passes: 1 };

async fn a_right_login_renews_a_hash_of_other_parameters_and_ends_no_session(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let before = app.login().await;
    let dearer = app.sibling_with(|config| config.password_cost = DEARER).await;
    assert_eq!(login_status(&dearer, "user2", "wrong").await, 401);
    assert!(stored_hash(&app, "user2").await.contains("$m=8,t=1,p=1$"), "only the right password can be hashed");
    assert_eq!(login_status(&dearer, "admin", "123456").await, 200);
    let renewed = stored_hash(&app, "admin").await;
    assert!(renewed.contains("$m=16,t=1,p=1$"), "{renewed}");
    assert_eq!(login_status(&dearer, "admin", "123456").await, 200);
    assert_eq!(stored_hash(&app, "admin").await, renewed, "once is enough");
    assert_eq!(app.refresh_status(&before.refresh, None).await, 200);
    assert_eq!(app.protected_status(&before.access).await, 200);
    assert_eq!(app.db_value::<i64>("SELECT count(*) FROM sessions WHERE revoked_at IS NULL").await, 3);
    assert_eq!(login_status(&dearer, "admin", "wrong").await, 401);
}

async fn a_changed_password_is_not_undone_by_a_login_that_renews_the_old_hash(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let dearer = app.sibling_with(|config| config.password_cost = DEARER).await;
    let store = app.store().await;
    // Changed between the comparison and the renewal.
    let checked = store.login(&admin()).await.unwrap().unwrap();
    let old = Password::presented("123456".to_owned());
    let renewed = Passwords::new(DEARER).unwrap().hash(old).await.unwrap();
    change_password(&store, "round 0").await;
    assert!(!store.renew_password_hash(&checked, &renewed).await.unwrap());
    assert_eq!(login_status(&app, "admin", "round 0").await, 200);
    // Set to the same again: it is another epoch, and another salt.
    change_password(&store, "123456").await;
    assert!(!store.renew_password_hash(&checked, &renewed).await.unwrap());
    change_password(&store, "round 0").await;
    // At any moment of a login. Few rounds: each has up to two failures, and ten are too many.
    for round in 1..=4 {
        let (old, new) = (format!("round {}", round - 1), format!("round {round}"));
        let (_, ()) = tokio::join!(login_status(&dearer, "admin", &old), change_password(&store, &new));
        assert_eq!(login_status(&app, "admin", &old).await, 401, "{old}");
        assert_eq!(login_status(&dearer, "admin", &new).await, 200, "{new}");
    }
}
