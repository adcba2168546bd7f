//! Logins: how many at once.

use authcli_server::password::{PasswordCost, Room};
use serde_json::json;
use tokio::task::JoinSet;

use crate::helpers::spawn_app;

/// A second or more for each hash, on any machine.
const SLOW: PasswordCost = PasswordCost { memory_kib: 8 * 1024, passes: 300 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_logins_at_once_are_told_to_come_back_and_hold_up_nobody_else() {
    let app = spawn_app().await;
    let login = app.login().await;
    let guess = json!({ "username": "user2", "password": "guess" });
    for _ in 0..10 {
        assert_eq!(app.post("/login", &guess).await.status(), 401);
    }
    let room = Room { at_once: 1, waiting: 1 };
    let slow = app.sibling_with(|config| (config.password_cost, config.password_room) = (SLOW, room)).await;
    let mut logins = JoinSet::new();
    for _ in 0..5 {
        // Nobody has this name, so the server's own hash is what is compared.
        let body = json!({ "username": "nobody", "password": "x" });
        logins.spawn(slow.request(reqwest::Method::POST, "/login").json(&body).send());
    }
    for _ in 0..3 {
        let refused = logins.join_next().await.unwrap().unwrap().unwrap();
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.headers()["retry-after"], "1");
        assert_eq!(refused.text().await.unwrap(), r#"{"error":"Service unavailable"}"#);
    }
    // Not even the throttle is asked, which has another word for this one.
    assert_eq!(slow.post("/login", &guess).await.status(), 503);
    assert_eq!(slow.protected_status(&login.access).await, 200);
    assert_eq!(slow.refresh_status(&login.refresh, None).await, 200);
    assert!(logins.try_join_next().is_none(), "one is hashed and one waits all the while");
    for _ in 0..2 {
        assert_eq!(logins.join_next().await.unwrap().unwrap().unwrap().status(), 401);
    }
    assert_eq!(slow.post("/login", &guess).await.status(), 429);
    assert_eq!(app.post("/login", &json!({ "username": "admin", "password": "123456" })).await.status(), 200);
}
