//! Many at once.

use std::collections::HashSet;
use std::time::Instant;

use authcli_server::password::PasswordCost;
use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::ends::{End, NEW_PASSWORD, OLD_PASSWORD, PROMISE, Users, log_in};
use crate::helpers::{Backend, TestApp, Tokens, by, on_both_stores, spawn_app, spawn_app_on, tokens};

on_both_stores!(
    r1_two_servers_on_one_database_agree_on_the_successor,
    attempts_of_different_owners_never_get_two_successors,
    r11_whatever_ends_a_user_ends_it_among_refreshes_and_logins,
);

const USES: usize = 64;
const ROUNDS: usize = 10;
const MANY_ROUNDS: usize = 200;
const KEY: Option<&str> = Some("the-same-attempt-in-every-round");

/// Clients that know of keys send one, the same for all who use a token; others send none.
fn key_of(round: usize) -> Option<&'static str> {
    KEY.filter(|_| round.is_multiple_of(2))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r1_one_token_used_by_many_at_once_has_one_successor() {
    let app = spawn_app().await;
    let mut token = app.login().await.refresh;
    for round in 1..=MANY_ROUNDS {
        let answers: Vec<Tokens> = join_all((0..USES).map(|_| app.refresh(&token, key_of(round)))).await;
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
        let uses = (0..USES).map(|at| [&one, &two][at % 2].refresh(&token, key_of(round)));
        let answers: Vec<Tokens> = join_all(uses).await;
        let successors: HashSet<&str> = answers.iter().map(|tokens| tokens.refresh.as_str()).collect();
        assert_eq!(successors.len(), 1, "round {round}");
        assert_eq!(one.db_session::<i64>("generation").await, i64::try_from(round).unwrap());
        // What one server signs, the other accepts.
        assert_eq!(two.protected_status(&answers[0].access).await, 200);
        token.clone_from(&answers[0].refresh);
    }
}

/// Attempts with keys of their own: one of them wins, and no second successor ever exists. A successor follows from the
/// session and the generation, so the tests above see one also where two have rotated the row; here both would win.
async fn attempts_of_different_owners_never_get_two_successors(backend: Backend) {
    const OWNERS: usize = 16;

    let one = spawn_app_on(backend, |_| {}).await;
    let two = one.sibling().await;
    for round in 0..MANY_ROUNDS {
        // A session of its own for each round: the first who loses ends it.
        let token = one.login().await.refresh;
        let attempts = (0..OWNERS).map(async |at| {
            let key = format!("attempt-of-owner-{at}");
            [&one, &two][at % 2].refresh_status(&token, Some(&key)).await
        });
        let mut answers = join_all(attempts).await;
        answers.sort_unstable();
        assert_eq!((answers[0], &answers[1..]), (200, &[403; OWNERS - 1][..]), "round {round}");
    }
    let ended = "SELECT count(*) FROM sessions WHERE generation = 1 AND revoked_reason = 'reuse'";
    assert_eq!(one.db_value::<i64>(ended).await, i64::try_from(MANY_ROUNDS).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r5_after_a_logout_among_refreshes_nothing_of_the_session_works() {
    for _ in 0..ROUNDS {
        let app = spawn_app().await;
        let login = app.login().await;
        let body = json!({ "refreshToken": login.refresh });
        let (answers, logout) =
            tokio::join!(join_all((0..8).map(|_| app.post_refresh(&login.refresh, None))), app.post("/logout", &body),);
        assert_eq!(logout.status(), 204);
        assert_eq!(app.refresh_status(&login.refresh, None).await, 403);
        for answer in answers {
            if answer.status() == 200 {
                let pair = tokens(answer).await;
                assert_eq!(app.refresh_status(&pair.refresh, None).await, 403);
                assert_eq!(app.protected_status(&pair.access).await, 403);
            }
        }
    }
}

/// Takes a few milliseconds, so that what ends a user also comes between the look at its password and the session.
const LONGER: PasswordCost = PasswordCost { memory_kib: 2048, passes: 1 };
const SESSIONS: usize = 4;
const REFRESHES: usize = 16;
const LOGINS: usize = 4;

async fn r11_whatever_ends_a_user_ends_it_among_refreshes_and_logins(backend: Backend) {
    let one = spawn_app_on(backend, |config| config.password_cost = LONGER).await;
    let two = match backend {
        Backend::Sqlite => None,
        #[cfg(unix)]
        Backend::Postgres => Some(one.sibling().await),
    };
    let apps = [&one, two.as_ref().unwrap_or(&one)];
    let users = Users::of(&one).await;
    let mut ended = Vec::new();
    for end in End::ALL {
        for round in 0..=REFRESHES {
            ended.push(end_in_the_middle(end, round, apps, &users).await);
        }
    }
    // Not after each round: the promise is of seconds.
    for (pairs, moment) in ended {
        for (app, pair) in apps.into_iter().flat_map(|app| pairs.iter().map(move |pair| (app, pair))) {
            by(moment, "the refusal", async || app.protected_status(&pair.access).await == 403).await;
        }
    }
}

/// Ends a user, or one of its sessions, when so many of its refreshes were answered; returns all that ended with it, and
/// when that must be noticed everywhere.
async fn end_in_the_middle(end: End, after: usize, apps: [&TestApp; 2], users: &Users) -> (Vec<Tokens>, Instant) {
    let name = format!("{end:?}-{after}");
    users.add(&name).await;
    let sessions = join_all((0..SESSIONS).map(|at| log_in(apps[at % 2], &name, OLD_PASSWORD))).await;
    let sessions: Vec<Tokens> = sessions.into_iter().map(Option::unwrap).collect();
    for session in &sessions {
        for app in apps {
            assert_eq!(app.protected_status(&session.access).await, 200);
        }
    }
    let answered = Semaphore::new(0);
    let refreshes = (0..REFRESHES).map(async |at| {
        let answer = apps[at % 2].post_refresh(&sessions[at % SESSIONS].refresh, KEY).await;
        answered.add_permits(1);
        match answer.status().as_u16() {
            403 => None,
            _ => Some((at % SESSIONS, tokens(answer).await)),
        }
    });
    let logins = (0..LOGINS).map(|at| log_in(apps[at % 2], &name, OLD_PASSWORD));
    let ending = async {
        let _enough = answered.acquire_many(u32::try_from(after).unwrap()).await.unwrap();
        users.end(end, apps[0], &name, &sessions[0], &sessions[1]).await;
        Instant::now() + PROMISE
    };
    let (answers, late, moment) = tokio::join!(join_all(refreshes), join_all(logins), ending);

    let all = sessions.into_iter().enumerate().chain(answers.into_iter().flatten());
    let (over, others): (Vec<_>, Vec<_>) = all.partition(|(session, _)| end != End::DeleteSession || *session == 0);
    let mut over: Vec<Tokens> = over.into_iter().map(|(_, pair)| pair).collect();
    let late = late.into_iter().flatten();
    if end.ends_logins() {
        over.extend(late);
    } else {
        assert_eq!(late.count(), LOGINS, "{name}");
    }
    for app in apps {
        for pair in &over {
            assert_eq!(app.refresh_status(&pair.refresh, KEY).await, 403, "{name}");
            if end == End::DeleteSession && std::ptr::eq(app, apps[0]) {
                assert_eq!(app.protected_status(&pair.access).await, 403, "{name}: at once, where it was ended");
            }
        }
        for (_, pair) in &others {
            assert_eq!(app.protected_status(&pair.access).await, 200, "{name}: another session");
        }
        let next = log_in(app, &name, OLD_PASSWORD).await;
        assert_eq!(next.is_none(), end.ends_logins(), "{name}");
    }
    if end == End::ChangePassword {
        let new = log_in(apps[1], &name, NEW_PASSWORD).await.unwrap();
        assert_eq!(apps[0].protected_status(&new.access).await, 200);
    }
    (over, moment)
}
