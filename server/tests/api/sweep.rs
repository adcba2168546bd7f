//! The sweep deletes what has been over for long, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use authcli_server::domain::{AttemptHash, Generation, Lifetimes, SessionId, Username};
use authcli_server::ports::{NewSession, PepperId, Rotation, Store, Sweep};
use authcli_server::sweep::{Pace, Sweeper};

use crate::helpers::{Backend, TestApp, eventually, on_both_stores, spawn_app_on};

on_both_stores!(
    only_what_has_been_over_for_long_is_deleted,
    a_live_session_is_never_deleted_however_short_the_wait,
    the_sweeper_walks_again_and_again_until_it_is_stopped,
    a_running_server_sweeps,
);

const DAY: Duration = Duration::from_hours(24);
const LIFETIMES: Lifetimes = Lifetimes { access: DAY, refresh: DAY, session: DAY };

async fn store_of(app: &TestApp) -> Arc<dyn Store> {
    app.store().await
}

fn id(number: u8) -> SessionId {
    SessionId([number; 16])
}

/// Opens a session and puts it into a state; its generation is its number, which tells it from the others.
async fn session(app: &TestApp, store: &Arc<dyn Store>, number: u8, state: &str) {
    let user = store.login(&Username::parse("admin").unwrap()).await.unwrap().unwrap();
    let session = NewSession {
        id: id(number),
        user_id: user.user_id,
        epoch: user.epoch,
        salt: [1; 32],
        pepper_id: PepperId(1),
        lifetimes: LIFETIMES,
    };
    store.open_session(session).await.unwrap().unwrap();
    rotate(store, number, i64::from(number) - 1).await;
    if !state.is_empty() {
        app.db_execute(&format!("UPDATE sessions SET {state} WHERE generation = {number}")).await;
    }
}

async fn rotate(store: &Arc<dyn Store>, number: u8, presented: i64) {
    let rotation = Rotation {
        session: id(number),
        presented: Generation::new(presented).unwrap(),
        attempt: AttemptHash::from_bytes(&[number; 32]).unwrap(),
        keyless: false,
        idle: DAY,
    };
    store.rotate(rotation).await.unwrap().unwrap();
}

/// Walks once through all sessions, two at a time; returns how many were deleted in how many steps.
async fn walk(store: &Arc<dyn Store>, keep: Duration) -> (usize, usize) {
    let (mut after, mut deleted, mut steps) = (None, 0, 0);
    loop {
        let swept = store.sweep(Sweep { after, look_at: 2, keep }).await.unwrap();
        deleted += swept.deleted;
        steps += 1;
        after = swept.next;
        if after.is_none() {
            return (deleted, steps);
        }
    }
}

async fn left(store: &Arc<dyn Store>) -> Vec<u8> {
    let mut left = Vec::new();
    for number in 1..10 {
        if store.session(id(number)).await.unwrap().is_some() {
            left.push(number);
        }
    }
    left
}

async fn only_what_has_been_over_for_long_is_deleted(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let store = store_of(&app).await;
    // Eight days ago, six days ago.
    let states = [
        "",
        "revoked_at = rotated_at - 691200000",
        "revoked_at = rotated_at - 518400000",
        "idle_expires_at = rotated_at - 691200000",
        "idle_expires_at = rotated_at - 518400000",
        "absolute_expires_at = rotated_at - 691200000",
        "absolute_expires_at = rotated_at - 518400000",
    ];
    for (number, state) in (1..).zip(states) {
        session(&app, &store, number, state).await;
    }
    assert_eq!(walk(&store, 7 * DAY).await, (3, 5), "seven sessions, two at a time, and a step that finds none");
    assert_eq!(left(&store).await, [1, 3, 5, 7]);
    assert_eq!(walk(&store, 7 * DAY).await, (0, 3));
    assert_eq!(walk(&store, 5 * DAY).await, (3, 3));
    assert_eq!(left(&store).await, [1]);
    // A user that was disabled may be enabled again.
    app.db_execute("UPDATE users SET disabled_at = 1").await;
    assert_eq!(walk(&store, Duration::ZERO).await.0, 0);
}

async fn a_live_session_is_never_deleted_however_short_the_wait(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let store = store_of(&app).await;
    for number in 1..=6 {
        session(&app, &store, number, "").await;
    }
    let refresh = async {
        for presented in 10..30 {
            for number in 1..=6 {
                rotate(&store, number, presented).await;
            }
        }
    };
    let sweep = async {
        for _ in 0..20 {
            assert_eq!(walk(&store, Duration::ZERO).await.0, 0);
        }
    };
    tokio::join!(refresh, sweep);
    assert_eq!(left(&store).await, [1, 2, 3, 4, 5, 6]);
}

async fn the_sweeper_walks_again_and_again_until_it_is_stopped(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let store = store_of(&app).await;
    let moment = Duration::from_millis(5);
    let pace = Pace { keep: DAY, step: 1, pause: moment, attempts_rest: moment, rest: moment };
    let sweeper = Sweeper::start(Arc::clone(&store), pace);
    session(&app, &store, 1, "").await;
    for number in 2..=4 {
        session(&app, &store, number, "revoked_at = 1").await;
        eventually("the sweep", async || store.session(id(number)).await.unwrap().is_none()).await;
    }
    sweeper.stop().await;
    assert_eq!(Arc::strong_count(&store), 1, "the task has ended");
    assert_eq!(left(&store).await, [1]);
}

async fn a_running_server_sweeps(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let store = store_of(&app).await;
    session(&app, &store, 1, "").await;
    session(&app, &store, 2, "revoked_at = 1").await;
    eventually("the sweep", async || store.session(id(2)).await.unwrap().is_none()).await;
    assert_eq!(left(&store).await, [1]);
}
