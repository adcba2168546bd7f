//! Log out.

use serde_json::json;

use crate::helpers::spawn_app;

#[tokio::test]
async fn it_ends_the_session_and_its_access_tokens() {
    let app = spawn_app().await;
    let login = app.login().await;
    assert_eq!(app.protected_status(&login.access).await, 200);
    let body = json!({ "refreshToken": login.refresh });
    assert_eq!(app.post("/logout", &body).await.status(), 204);
    assert_eq!(app.protected_status(&login.access).await, 403);
    assert_eq!(app.refresh_status(&login.refresh, None).await, 403);
    let row = app.db_session_row().await;
    assert_eq!(app.post("/logout", &body).await.status(), 204, "twice is once");
    assert_eq!(row, app.db_session_row().await);
}

#[tokio::test]
async fn a_token_that_was_used_before_ends_the_session_too_and_is_no_reuse() {
    let app = spawn_app().await;
    let login = app.login().await;
    let mut newest = login.clone();
    for _ in 0..6 {
        newest = app.refresh(&newest.refresh, None).await;
    }
    let body = json!({ "refreshToken": login.refresh });
    assert_eq!(app.post("/logout", &body).await.status(), 204);
    assert_eq!(app.db_session::<String>("revoked_reason").await, "logout");
    assert_eq!(app.refresh_status(&newest.refresh, None).await, 403);
}

#[tokio::test]
async fn other_sessions_of_the_same_user_live_on() {
    let app = spawn_app().await;
    let (one, two) = (app.login().await, app.login().await);
    app.post("/logout", &json!({ "refreshToken": one.refresh })).await;
    assert_eq!(app.protected_status(&one.access).await, 403);
    assert_eq!(app.protected_status(&two.access).await, 200);
    assert_eq!(app.refresh_status(&two.refresh, None).await, 200);
}
