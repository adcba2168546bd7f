//! Access tokens: how long they are good for.

use std::time::Duration;

use serde_json::{Value, json};

use crate::helpers::{eventually, spawn_app, spawn_app_with};

#[tokio::test]
async fn an_access_token_expires_and_the_session_goes_on() {
    let app = spawn_app_with(|config| config.lifetimes.access = Duration::from_millis(500)).await;
    let body = json!({ "username": "admin", "password": "123456" });
    let body: Value = app.post("/login", &body).await.json().await.unwrap();
    assert_eq!(body["expiresIn"], json!(0.5));
    let access = body["accessToken"].as_str().unwrap();
    assert_eq!(app.protected_status(access).await, 200);
    eventually("expiry", async || app.protected_status(access).await == 403).await;
    let refreshed = app.refresh(body["refreshToken"].as_str().unwrap(), None).await;
    assert_eq!(app.protected_status(&refreshed.access).await, 200);
}

#[tokio::test]
async fn an_older_access_token_of_the_session_is_good_until_it_expires() {
    let app = spawn_app().await;
    let login = app.login().await;
    app.refresh(&login.refresh, None).await;
    assert_eq!(app.protected_status(&login.access).await, 200);
}

#[tokio::test]
async fn a_session_whose_row_is_gone_is_over() {
    let app = spawn_app().await;
    let login = app.login().await;
    app.db_execute("DELETE FROM sessions").await;
    assert_eq!(app.protected_status(&login.access).await, 403);
    assert_eq!(app.refresh_status(&login.refresh, None).await, 403);
}

#[tokio::test]
async fn a_token_of_another_server_is_refused() {
    let (ours, other) = (spawn_app().await, spawn_app().await);
    let login = other.login().await;
    assert_eq!(ours.protected_status(&login.access).await, 403);
    assert_eq!(ours.refresh_status(&login.refresh, None).await, 403);
}
