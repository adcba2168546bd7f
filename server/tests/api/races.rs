//! Many at once.

use std::collections::HashSet;

use futures_util::future::join_all;

use crate::helpers::{Backend, Tokens, on_both_stores, spawn_app, spawn_app_on};

on_both_stores!(r1_two_servers_on_one_database_agree_on_the_successor);

const USES: usize = 64;
const ROUNDS: usize = 10;
const MANY_ROUNDS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r1_one_token_used_by_many_at_once_has_one_successor() {
    let app = spawn_app().await;
    let mut token = app.login().await.refresh;
    for round in 1..=MANY_ROUNDS {
        let answers: Vec<Tokens> = join_all((0..USES).map(|_| app.refresh(&token, None))).await;
        let successors: HashSet<&str> = answers.iter().map(|tokens| tokens.refresh.as_str()).collect();
        assert_eq!(successors.len(), 1, "round {round}");
        assert_eq!(app.db_session::<i64>("generation").await, i64::try_from(round).unwrap());
        token.clone_from(&answers[0].refresh);
    }
}

async fn r1_two_servers_on_one_database_agree_on_the_successor(backend: Backend) {
    let one = spawn_app_on(backend, |_| {}).await;
    let two = one.sibling().await;
    let mut token = one.login().await.refresh;
    // One writes at a time to a file; between servers of PostgreSQL there is nothing but the row.
    let rounds = match backend {
        Backend::Sqlite => ROUNDS,
        #[cfg(unix)]
        Backend::Postgres => MANY_ROUNDS,
    };
    for round in 1..=rounds {
        let uses = (0..USES).map(|at| if at % 2 == 0 { one.refresh(&token, None) } else { two.refresh(&token, None) });
        let answers: Vec<Tokens> = join_all(uses).await;
        let successors: HashSet<&str> = answers.iter().map(|tokens| tokens.refresh.as_str()).collect();
        assert_eq!(successors.len(), 1, "round {round}");
        assert_eq!(one.db_session::<i64>("generation").await, i64::try_from(round).unwrap());
        // What one server signs, the other accepts.
        assert_eq!(two.protected_status(&answers[0].access).await, 200);
        token.clone_from(&answers[0].refresh);
    }
}

/// Attempts with keys of their own: one of them wins, and no second successor ever exists.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_of_different_owners_never_get_two_successors() {
    let app = spawn_app().await;
    let token = app.login().await.refresh;
    let attempts = (0..USES).map(|at| {
        let key = format!("attempt-of-owner-{at}");
        let (app, token) = (&app, &token);
        async move {
            let response = app.post_refresh(token, Some(&key)).await;
            (response.status().as_u16(), response.text().await.unwrap())
        }
    });
    let answers = join_all(attempts).await;
    let won: Vec<_> = answers.iter().filter(|answer| answer.0 == 200).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(app.db_session::<i64>("generation").await, 1);
    assert_eq!(app.db_session::<String>("revoked_reason").await, "reuse");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r5_after_a_logout_among_refreshes_nothing_of_the_session_works() {
    for _ in 0..ROUNDS {
        let app = spawn_app().await;
        let login = app.login().await;
        let body = serde_json::json!({ "refreshToken": login.refresh });
        let (answers, logout) =
            tokio::join!(join_all((0..8).map(|_| app.post_refresh(&login.refresh, None))), app.post("/logout", &body),);
        assert_eq!(logout.status(), 204);
        assert_eq!(app.refresh_status(&login.refresh, None).await, 403);
        for answer in answers {
            if answer.status() == 200 {
                let pair = crate::helpers::tokens(answer).await;
                assert_eq!(app.refresh_status(&pair.refresh, None).await, 403);
                assert_eq!(app.protected_status(&pair.access).await, 403);
            }
        }
    }
}
