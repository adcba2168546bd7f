//! Rotation: who gets which successor, and what ends a session.

use std::time::Duration;

use serde_json::Value;

use crate::helpers::{spawn_app, spawn_app_with};

const KEY: &str = "0123456789abcdef-one";
const OTHER_KEY: &str = "0123456789abcdef-two";

#[tokio::test]
async fn the_same_attempt_gets_the_same_successor_however_late() {
    let app = spawn_app().await;
    let login = app.login().await;
    let first = app.refresh(&login.refresh, Some(KEY)).await;
    app.db_age_rotation().await;
    let row = app.db_session_row().await;
    let again = app.refresh(&login.refresh, Some(KEY)).await;
    assert_eq!(first.refresh, again.refresh);
    assert_eq!(row, app.db_session_row().await, "a repeat writes nothing");
    assert_eq!(app.protected_status(&again.access).await, 200);
    assert_eq!(app.refresh_status(&again.refresh, Some(OTHER_KEY)).await, 200);
}

#[tokio::test]
async fn without_a_key_the_window_decides() {
    let app = spawn_app().await;
    let login = app.login().await;
    let first = app.refresh(&login.refresh, None).await;
    assert_eq!(app.refresh(&login.refresh, None).await.refresh, first.refresh);
    // Also with a key: what counts is that the rotation was made without one.
    assert_eq!(app.refresh(&login.refresh, Some(KEY)).await.refresh, first.refresh);
    app.db_age_rotation().await;
    assert_eq!(app.refresh_status(&login.refresh, None).await, 403);
    assert_eq!(app.refresh_status(&first.refresh, None).await, 403, "the session is over");
}

#[tokio::test]
async fn a_key_that_is_none_is_ignored() {
    let app = spawn_app().await;
    let login = app.login().await;
    let first = app.refresh(&login.refresh, Some("short")).await;
    assert!(app.db_session::<bool>("keyless").await);
    assert_eq!(app.refresh(&login.refresh, Some("another")).await.refresh, first.refresh);
    app.db_age_rotation().await;
    assert_eq!(app.refresh_status(&login.refresh, Some("short")).await, 403);
}

#[tokio::test]
async fn another_attempt_with_a_used_token_ends_the_session_once() {
    let app = spawn_app().await;
    let login = app.login().await;
    let owner = app.refresh(&login.refresh, Some(KEY)).await;
    assert_eq!(app.refresh_status(&login.refresh, Some(OTHER_KEY)).await, 403);
    assert_eq!(app.db_session::<String>("revoked_reason").await, "reuse");
    let row = app.db_session_row().await;
    for token in [&login.refresh, &owner.refresh] {
        assert_eq!(app.refresh_status(token, Some(KEY)).await, 403);
        assert_eq!(app.refresh_status(token, None).await, 403);
    }
    assert_eq!(app.protected_status(&owner.access).await, 403);
    assert_eq!(row, app.db_session_row().await, "it was revoked once");
}

#[tokio::test]
async fn a_token_of_any_age_is_recognised_and_ends_the_session() {
    let app = spawn_app().await;
    let login = app.login().await;
    let mut newest = login.clone();
    for _ in 0..10 {
        newest = app.refresh(&newest.refresh, None).await;
    }
    assert_eq!(app.refresh_status(&login.refresh, None).await, 403);
    assert_eq!(app.refresh_status(&newest.refresh, None).await, 403);
}

#[tokio::test]
async fn a_late_duplicate_of_a_remembered_attempt_is_refused_and_no_more() {
    let app = spawn_app().await;
    let login = app.login().await;
    let mut newest = app.refresh(&login.refresh, Some(KEY)).await;
    for step in 0..3 {
        newest = app.refresh(&newest.refresh, Some(&format!("{OTHER_KEY}-{step}"))).await;
    }
    let row = app.db_session_row().await;
    assert_eq!(app.refresh_status(&login.refresh, Some(KEY)).await, 403);
    assert_eq!(row, app.db_session_row().await);
    newest = app.refresh(&newest.refresh, None).await;
    // The fifth attempt has pushed the first out of memory.
    assert_eq!(app.refresh_status(&login.refresh, Some(KEY)).await, 403);
    assert_eq!(app.refresh_status(&newest.refresh, None).await, 403);
}

#[tokio::test]
async fn a_remembered_key_beside_another_token_than_its_own_is_no_late_duplicate() {
    let app = spawn_app().await;
    let login = app.login().await;
    let second = app.refresh(&login.refresh, Some(KEY)).await;
    app.refresh(&second.refresh, Some(OTHER_KEY)).await;
    // The first token, long used, with the key that redeemed the second: no honest client has that pair.
    assert_eq!(app.refresh_status(&login.refresh, Some(OTHER_KEY)).await, 403);
    assert_eq!(app.db_session::<String>("revoked_reason").await, "reuse");
}

#[tokio::test]
async fn r9_a_forged_token_changes_nothing() {
    let app = spawn_app().await;
    let login = app.login().await;
    let used = login.refresh.clone();
    let newest = app.refresh(&used, Some(KEY)).await;
    let row = app.db_session_row().await;
    let parts: Vec<&str> = used.split('.').collect();
    let newer = newest.refresh.split('.').nth(3).unwrap();
    let tag = if parts[4].starts_with('A') { "B" } else { "A" };
    let forged = [
        used.replacen(parts[4], &format!("{tag}{}", &parts[4][1..]), 1),
        used.replacen(&format!(".{}.", parts[3]), &format!(".{newer}."), 1),
        used.replacen(&format!(".{}.", parts[3]), ".AAAAAAAAA-g.", 1),
        used.replacen(parts[2], "AAAAAAAAAAAAAAAAAAAAAA", 1),
    ];
    for token in forged {
        assert_eq!(app.refresh_status(&token, None).await, 403, "{token}");
        assert_eq!(app.post("/logout", &serde_json::json!({ "refreshToken": token })).await.status(), 204);
    }
    assert_eq!(row, app.db_session_row().await);
    assert_eq!(app.refresh_status(&newest.refresh, Some(OTHER_KEY)).await, 200);
}

#[tokio::test]
async fn r10_a_database_that_lost_its_tail_logs_nobody_out() {
    let app = spawn_app().await;
    let mut newest = app.login().await;
    for _ in 0..3 {
        newest = app.refresh(&newest.refresh, Some(KEY)).await;
    }
    app.db_execute("UPDATE sessions SET generation = 1").await;
    let next = app.refresh(&newest.refresh, Some(OTHER_KEY)).await;
    assert_eq!(app.db_session::<i64>("generation").await, 4);
    assert_eq!(app.refresh_status(&next.refresh, Some(KEY)).await, 200);
}

#[tokio::test]
async fn rotation_extends_the_idle_end_and_never_the_absolute_one() {
    let app = spawn_app_with(|config| config.lifetimes.session = Duration::from_hours(7 * 24 + 1)).await;
    let login = app.login().await;
    let absolute = app.db_session::<i64>("absolute_expires_at").await;
    let idle = app.db_session::<i64>("idle_expires_at").await;
    assert!(idle < absolute);
    // Two hours later there is less than the idle life left in all.
    app.db_execute(
        "UPDATE sessions SET idle_expires_at = idle_expires_at - 7200000, absolute_expires_at = absolute_expires_at - 7200000",
    )
    .await;
    let response = app.post_refresh(&login.refresh, Some(KEY)).await;
    let body: Value = response.json().await.unwrap();
    assert_eq!(app.db_session::<i64>("absolute_expires_at").await, absolute - 7_200_000);
    assert_eq!(app.db_session::<i64>("idle_expires_at").await, absolute - 7_200_000);
    let told = body["refreshExpiresIn"].as_u64().unwrap();
    assert!((604_800 - 3_600 - 30..=604_800 - 3_600).contains(&told), "{told}");
}

#[tokio::test]
async fn the_last_access_token_ends_with_its_session() {
    let app = spawn_app_with(|config| config.lifetimes.session = Duration::from_secs(100)).await;
    let login = app.login().await;
    let body: Value = app.post_refresh(&login.refresh, None).await.json().await.unwrap();
    for name in ["expiresIn", "refreshExpiresIn"] {
        assert!((70..=100).contains(&body[name].as_u64().unwrap()), "{body}");
    }
}

#[tokio::test]
async fn an_expired_session_is_over() {
    for column in ["idle_expires_at", "absolute_expires_at"] {
        let app = spawn_app().await;
        let login = app.login().await;
        app.db_execute(&format!("UPDATE sessions SET {column} = created_at")).await;
        assert_eq!(app.refresh_status(&login.refresh, None).await, 403, "{column}");
        assert_eq!(app.protected_status(&login.access).await, 403, "{column}");
        assert_eq!(app.db_session::<i64>("generation").await, 0, "{column}");
    }
}

#[tokio::test]
async fn s3_an_access_token_is_no_refresh_token_nor_the_other_way_round() {
    let app = spawn_app().await;
    let login = app.login().await;
    assert_eq!(app.refresh_status(&login.access, None).await, 403);
    assert_eq!(app.protected_status(&login.refresh).await, 403);
}

#[tokio::test]
async fn nothing_of_a_token_or_key_is_in_the_database() {
    let app = spawn_app().await;
    let login = app.login().await;
    let next = app.refresh(&login.refresh, Some(KEY)).await;
    let mut stored = Vec::new();
    for file in std::fs::read_dir(app.database().parent().unwrap()).unwrap() {
        let file = file.unwrap().path();
        if !file.to_string_lossy().ends_with(".pepper") {
            stored.extend(std::fs::read(file).unwrap());
        }
    }
    let holds = |text: &str| stored.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(holds("admin"), "the search works");
    let tag = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    for secret in [&tag(&login.refresh), &tag(&next.refresh), KEY, "123456", "password2"] {
        assert!(!holds(secret), "{secret}");
    }
    let pepper = std::fs::read_to_string(app.database().with_extension("db.pepper")).unwrap();
    assert!(!holds(pepper.trim()));
}
