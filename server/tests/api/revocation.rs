//! How soon the access tokens of a session that was ended are refused: at once where it was ended, within five seconds on
//! every other server of the same database.

use std::time::Instant;

use futures_util::future::join_all;
use serde_json::json;

use crate::ends::{End, OLD_PASSWORD, PROMISE, Users, log_in};
use crate::helpers::{Backend, TestApp, Tokens, by, on_both_stores, spawn_app_on};

on_both_stores!(what_one_server_ends_the_other_refuses_within_five_seconds);

/// All side by side: each waits for a verdict that was asked for right before the end.
async fn what_one_server_ends_the_other_refuses_within_five_seconds(backend: Backend) {
    let one = spawn_app_on(backend, |_| {}).await;
    let two = one.sibling().await;
    let users = Users::of(&one).await;
    let ends = join_all(End::ALL.map(|end| {
        let (one, two, users) = (&one, &two, &users);
        async move {
            let name = format!("{end:?}");
            users.add(&name).await;
            let mut sessions = Vec::new();
            for app in [one, two] {
                sessions.push(log_in(app, &name, OLD_PASSWORD).await.unwrap());
            }
            expect_let_through([one, two], &sessions).await;
            users.end(end, one, &name, &sessions[0], &sessions[1]).await;
            if end == End::DeleteSession {
                let other = sessions.pop().unwrap();
                assert_eq!(one.protected_status(&sessions[0].access).await, 403, "at once");
                expect_refused_in_time([one, two], &sessions).await;
                expect_let_through([one, two], &[other]).await;
            } else {
                expect_refused_in_time([one, two], &sessions).await;
            }
        }
    }));
    tokio::join!(ends, a_logout([&one, &two]), a_theft([&one, &two]), a_row_that_vanishes([&one, &two]));
}

async fn a_logout(apps: [&TestApp; 2]) {
    let session = [apps[0].login().await];
    expect_let_through(apps, &session).await;
    assert_eq!(apps[0].post("/logout", &json!({ "refreshToken": session[0].refresh })).await.status(), 204);
    assert_eq!(apps[0].protected_status(&session[0].access).await, 403, "at once");
    expect_refused_in_time(apps, &session).await;
}

/// A used token in other hands ends its session.
async fn a_theft(apps: [&TestApp; 2]) {
    let stolen = apps[0].login().await;
    let newer = apps[0].refresh(&stolen.refresh, Some("an-attempt-key-of-its-own")).await;
    let session = [stolen, newer];
    expect_let_through(apps, &session).await;
    assert_eq!(apps[0].refresh_status(&session[0].refresh, Some("an-attempt-key-of-a-thief")).await, 403);
    for Tokens { access, .. } in &session {
        assert_eq!(apps[0].protected_status(access).await, 403, "at once");
    }
    expect_refused_in_time(apps, &session).await;
}

/// As another program would, of which neither server knows.
async fn a_row_that_vanishes(apps: [&TestApp; 2]) {
    let session = [log_in(apps[0], "user2", "password2").await.unwrap()];
    expect_let_through(apps, &session).await;
    apps[0].db_execute("DELETE FROM sessions WHERE user_id = 2").await;
    expect_refused_in_time(apps, &session).await;
}

/// Also lets the servers know for a while that these sessions live.
async fn expect_let_through(apps: [&TestApp; 2], sessions: &[Tokens]) {
    for app in apps {
        for Tokens { access, .. } in sessions {
            assert_eq!(app.protected_status(access).await, 200);
        }
    }
}

/// From the end that was a moment ago.
async fn expect_refused_in_time(apps: [&TestApp; 2], sessions: &[Tokens]) {
    let moment = Instant::now() + PROMISE;
    for app in apps {
        for Tokens { access, .. } in sessions {
            by(moment, "the refusal", async || app.protected_status(access).await == 403).await;
        }
    }
}
