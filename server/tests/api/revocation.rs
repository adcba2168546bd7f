//! How soon the access tokens of a session that was ended are refused: at once where it was ended, within five seconds on
//! every other server of the same database.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::helpers::{TestApp, Tokens, spawn_app};

const PROMISE: Duration = Duration::from_secs(5);

/// Waits until a server refuses a token that it let through a moment ago.
async fn refused_in_time(app: &TestApp, access: &str) {
    let started = Instant::now();
    while app.protected_status(access).await != 403 {
        assert!(started.elapsed() < PROMISE, "still let through");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_server_ends_the_other_refuses_within_five_seconds() {
    let one = spawn_app().await;
    let two = one.sibling().await;
    let (logged_out, stolen, removed) = (one.login().await, one.login().await, one.login().await);
    let newer = one.refresh(&stolen.refresh, Some("an-attempt-key-of-its-own")).await;
    for tokens in [&logged_out, &stolen, &newer, &removed] {
        for app in [&one, &two] {
            assert_eq!(app.protected_status(&tokens.access).await, 200);
        }
    }
    assert_eq!(one.post("/logout", &json!({ "refreshToken": logged_out.refresh })).await.status(), 204);
    assert_eq!(one.protected_status(&logged_out.access).await, 403);
    // A used token in other hands ends its session.
    assert_eq!(one.refresh_status(&stolen.refresh, Some("an-attempt-key-of-a-thief")).await, 403);
    for Tokens { access, .. } in [&stolen, &newer] {
        assert_eq!(one.protected_status(access).await, 403);
    }
    // As another process would, of which neither server knows.
    one.db_execute("DELETE FROM sessions WHERE revoked_at IS NULL").await;

    tokio::join!(
        refused_in_time(&two, &logged_out.access),
        refused_in_time(&two, &stolen.access),
        refused_in_time(&two, &newer.access),
        refused_in_time(&two, &removed.access),
        refused_in_time(&one, &removed.access),
    );
}
