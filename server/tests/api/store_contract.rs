//! What every store promises: each step repeats its conditions itself, whatever was read and decided before it.

use std::sync::Arc;
use std::time::Duration;

use authcli_server::domain::{AttemptHash, Generation, KeyId, SessionId, UnixMillis, UserId, Username};
use authcli_server::ports::{
    KnownPepper, LiveSessions, NewSession, PepperId, Reuse, Rotation, ScheduledKey, SealedKey, SessionSelection, Store,
};

use crate::helpers::{Backend, TestApp, on_both_stores, spawn_app_on};

on_both_stores!(
    a_rotation_takes_the_newest_or_a_newer_generation_and_no_older_one,
    four_attempts_are_remembered_the_latest_first,
    a_session_that_is_over_does_not_rotate,
    a_rotation_sets_the_idle_end_within_the_absolute_one,
    only_what_is_reuse_still_revokes_and_only_once,
    none_of_the_four_remembered_attempts_is_reuse,
    the_window_closes,
    a_session_that_is_over_raises_no_alarm,
    a_session_ends_once,
    a_name_or_number_that_is_taken_stays_taken,
    a_user_is_looked_up_by_name_also_when_disabled,
    one_key_is_announced_at_a_time_and_signs_after_the_announcement,
    keys_are_replaced_and_removed,
    a_pepper_has_a_number_of_its_own_and_its_live_sessions_are_counted,
    a_user_sees_and_ends_the_live_sessions_that_are_the_users_own,
    the_operator_revokes_what_every_condition_holds_for,
);

const ID: SessionId = SessionId([7; 16]);
const WINDOW: Duration = Duration::from_secs(30);

/// What makes a session be over.
const ENDS: [&str; 4] = [
    "UPDATE sessions SET revoked_at = 1",
    "UPDATE sessions SET idle_expires_at = created_at",
    "UPDATE sessions SET absolute_expires_at = created_at",
    "UPDATE users SET disabled_at = 1",
];

/// A store with one session of the user `admin`.
async fn store_with_session(backend: Backend) -> (TestApp, Arc<dyn Store>) {
    let app = spawn_app_on(backend, |_| {}).await;
    let store = app.store().await;
    let user = store.login(&Username::parse("admin").unwrap()).await.unwrap().unwrap();
    let session = NewSession {
        id: ID,
        user_id: user.user_id,
        epoch: user.epoch,
        salt: [1; 32],
        pepper_id: PepperId(1),
        lifetimes: app.config.lifetimes,
    };
    let opened = store.open_session(session).await.unwrap().unwrap();
    assert_eq!((opened.user_id, opened.generation), (user.user_id, Generation::FIRST));
    (app, store)
}

fn attempt(seed: u8) -> AttemptHash {
    AttemptHash::from_bytes(&[seed; 32]).unwrap()
}

fn rotation(presented: i64, seed: u8, keyless: bool) -> Rotation {
    let presented = Generation::new(presented).unwrap();
    let idle = Duration::from_hours(1);
    Rotation { session: ID, presented, attempt: attempt(seed), keyless, idle }
}

fn reuse(presented: i64, seed: u8) -> Reuse {
    let presented = Generation::new(presented).unwrap();
    Reuse { session: ID, presented, attempt: attempt(seed), repeat_window: WINDOW }
}

async fn rotates(store: &Arc<dyn Store>, rotation: Rotation) -> bool {
    store.rotate(rotation).await.unwrap().is_some()
}

async fn a_rotation_takes_the_newest_or_a_newer_generation_and_no_older_one(backend: Backend) {
    let (app, store) = store_with_session(backend).await;
    let rotated = store.rotate(rotation(0, 1, false)).await.unwrap().unwrap();
    assert_eq!(rotated.generation.number(), 1);
    assert!(!rotates(&store, rotation(0, 1, false)).await, "not even the same attempt");
    assert!(rotates(&store, rotation(5, 2, false)).await);
    assert_eq!(app.db_session::<i64>("generation").await, 6);
    let state = store.session(ID).await.unwrap().unwrap().state;
    assert_eq!(state.attempts, [attempt(2), attempt(1)]);
    assert!(!state.keyless);
}

async fn four_attempts_are_remembered_the_latest_first(backend: Backend) {
    let (_app, store) = store_with_session(backend).await;
    for seed in 0..6 {
        assert!(rotates(&store, rotation(i64::from(seed), seed, seed == 5)).await);
    }
    let state = store.session(ID).await.unwrap().unwrap().state;
    assert_eq!(state.attempts, [5, 4, 3, 2].map(attempt));
    assert!(state.keyless);
}

async fn a_session_that_is_over_does_not_rotate(backend: Backend) {
    for end in ENDS {
        let (app, store) = store_with_session(backend).await;
        app.db_execute(end).await;
        assert!(!rotates(&store, rotation(0, 1, false)).await, "{end}");
        assert_eq!(app.db_session::<i64>("generation").await, 0, "{end}");
    }
}

async fn a_rotation_sets_the_idle_end_within_the_absolute_one(backend: Backend) {
    let (app, store) = store_with_session(backend).await;
    let rotated = store.rotate(rotation(0, 1, false)).await.unwrap().unwrap();
    assert_eq!(rotated.idle_expires_at.since(rotated.now), Duration::from_hours(1));
    app.db_execute("UPDATE sessions SET absolute_expires_at = rotated_at + 60000").await;
    let rotated = store.rotate(rotation(1, 2, false)).await.unwrap().unwrap();
    assert!(rotated.idle_expires_at.since(rotated.now) <= Duration::from_mins(1));
}

async fn only_what_is_reuse_still_revokes_and_only_once(backend: Backend) {
    let (app, store) = store_with_session(backend).await;
    assert!(!store.revoke_reused(reuse(0, 9)).await.unwrap(), "the newest token");
    assert!(rotates(&store, rotation(0, 1, false)).await);
    assert!(!store.revoke_reused(reuse(0, 1)).await.unwrap(), "the same attempt");
    assert!(rotates(&store, rotation(1, 2, true)).await);
    assert!(!store.revoke_reused(reuse(1, 9)).await.unwrap(), "without a key, inside the window");
    assert!(!store.revoke_reused(reuse(0, 1)).await.unwrap(), "a remembered attempt");
    app.db_execute("UPDATE sessions SET rotated_at = rotated_at + 3600000").await;
    assert!(!store.revoke_reused(reuse(1, 9)).await.unwrap(), "a negative age");
    assert!(store.revoke_reused(reuse(0, 9)).await.unwrap(), "two generations back");
    let row = app.db_session_row().await;
    assert!(!store.revoke_reused(reuse(0, 9)).await.unwrap(), "once");
    assert_eq!(row, app.db_session_row().await);
}

async fn none_of_the_four_remembered_attempts_is_reuse(backend: Backend) {
    let (_app, store) = store_with_session(backend).await;
    for seed in 0..5 {
        assert!(rotates(&store, rotation(i64::from(seed), seed, false)).await);
    }
    for remembered in 1..5 {
        assert!(!store.revoke_reused(reuse(i64::from(remembered), remembered)).await.unwrap(), "{remembered}");
    }
    assert!(store.revoke_reused(reuse(0, 0)).await.unwrap(), "the fifth is forgotten");
}

async fn the_window_closes(backend: Backend) {
    let (app, store) = store_with_session(backend).await;
    assert!(rotates(&store, rotation(0, 1, true)).await);
    app.db_age_rotation().await;
    assert!(store.revoke_reused(reuse(0, 9)).await.unwrap());
}

async fn a_session_that_is_over_raises_no_alarm(backend: Backend) {
    for end in ENDS {
        let (app, store) = store_with_session(backend).await;
        assert!(rotates(&store, rotation(0, 1, false)).await);
        assert!(rotates(&store, rotation(1, 2, false)).await);
        app.db_execute(end).await;
        assert!(!store.revoke_reused(reuse(0, 9)).await.unwrap(), "{end}");
    }
}

async fn a_session_ends_once(backend: Backend) {
    let (app, store) = store_with_session(backend).await;
    assert!(store.end_session(ID).await.unwrap());
    let row = app.db_session_row().await;
    assert!(!store.end_session(ID).await.unwrap());
    assert!(!store.end_session(SessionId([8; 16])).await.unwrap());
    assert_eq!(row, app.db_session_row().await);
    assert!(!rotates(&store, rotation(0, 1, false)).await);
}

async fn a_name_or_number_that_is_taken_stays_taken(backend: Backend) {
    let (_app, store) = store_with_session(backend).await;
    let hash = store.login(&Username::parse("admin").unwrap()).await.unwrap().unwrap().password_hash;
    let add = async |name: &str, id| {
        let name = Username::parse(name).unwrap();
        store.add_user(&name, &hash, id).await.unwrap().map(|id| id.0)
    };
    let first = store.users().await.unwrap()[0].id;
    assert_eq!(add("admin", None).await, None);
    assert_eq!(add("other", Some(first)).await, None);
    assert_eq!(add("other", None).await, Some(3));
}

async fn a_user_is_looked_up_by_name_also_when_disabled(backend: Backend) {
    let (app, store) = store_with_session(backend).await;
    let id = async |name: &str| store.user_id(&Username::parse(name).unwrap()).await.unwrap();
    app.db_execute("UPDATE users SET disabled_at = 1").await;
    assert_eq!((id("admin").await, id("user2").await, id("nobody").await), (Some(UserId(1)), Some(UserId(2)), None));
    assert!(store.has_users().await.unwrap());
    app.db_execute("DELETE FROM users").await;
    assert!(!store.has_users().await.unwrap());
    assert_eq!(id("admin").await, None);
}

fn key(name: &str) -> SealedKey {
    SealedKey { id: KeyId(name.to_owned()), sealed: vec![1, 2, 3], pepper_id: PepperId(1) }
}

/// Returns the store's clock and its keys. A server that was started has made the first one.
async fn keys(store: &Arc<dyn Store>) -> (UnixMillis, Vec<ScheduledKey>) {
    let list = store.signing_keys().await.unwrap();
    (list.now, list.keys)
}

async fn one_key_is_announced_at_a_time_and_signs_after_the_announcement(backend: Backend) {
    let (_app, store) = store_with_session(backend).await;
    let (now, first) = keys(&store).await;
    assert_eq!(first.len(), 1);
    assert!(first[0].times.signs_from <= now);
    store.add_first_signing_key(&key("late")).await.unwrap();
    let minute = Duration::from_mins(1);
    assert!(store.announce_signing_key(&key("next"), minute).await.unwrap());
    assert!(!store.announce_signing_key(&key("another"), minute).await.unwrap());

    store.raise_longest_life(&KeyId("next".into()), minute).await.unwrap();
    store.raise_longest_life(&KeyId("next".into()), minute / 2).await.unwrap();
    let (now, all) = keys(&store).await;
    let names: Vec<&str> = all.iter().map(|key| key.key.id.0.as_str()).collect();
    assert_eq!(names, [first[0].key.id.0.as_str(), "next"]);
    assert_eq!(all[1].times.longest_life, minute);
    assert_eq!((&all[1].key.sealed, all[1].key.pepper_id), (&vec![1, 2, 3], PepperId(1)));
    let left = all[1].times.signs_from.since(now);
    assert!(left <= minute && left > minute / 2, "{left:?}");
}

async fn keys_are_replaced_and_removed(backend: Backend) {
    let (_app, store) = store_with_session(backend).await;
    assert!(store.announce_signing_key(&key("next"), Duration::from_mins(1)).await.unwrap());
    store.replace_signing_keys(&key("new")).await.unwrap();
    let (now, all) = keys(&store).await;
    assert_eq!(all.iter().map(|key| key.key.id.0.as_str()).collect::<Vec<_>>(), ["new"]);
    assert!(all[0].times.signs_from <= now);
    assert!(store.remove_signing_key(&KeyId("new".into())).await.unwrap());
    assert!(!store.remove_signing_key(&KeyId("new".into())).await.unwrap());
    let (later, none) = keys(&store).await;
    assert!(none.is_empty() && later >= now, "the clock comes along also where there is no key");
}

async fn a_user_sees_and_ends_the_live_sessions_that_are_the_users_own(backend: Backend) {
    let (app, store) = store_with_session(backend).await;
    let user = store.login(&Username::parse("admin").unwrap()).await.unwrap().unwrap().user_id;
    let nobody = UserId(user.0 + 1000);
    let listed = store.sessions_of(user).await.unwrap();
    assert_eq!(listed.iter().map(|session| session.id).collect::<Vec<_>>(), [ID]);
    assert!(listed[0].created_at <= listed[0].refreshed_at && listed[0].refreshed_at < listed[0].expires_at);
    assert!(store.sessions_of(nobody).await.unwrap().is_empty());
    assert!(!store.revoke_session_of(nobody, ID).await.unwrap());
    assert!(!store.revoke_session_of(user, SessionId([8; 16])).await.unwrap());

    assert!(store.revoke_session_of(user, ID).await.unwrap());
    assert!(!store.revoke_session_of(user, ID).await.unwrap(), "it is over already");
    assert!(store.sessions_of(user).await.unwrap().is_empty());
    assert!(!rotates(&store, rotation(0, 1, false)).await);
    drop(app);
}

async fn the_operator_revokes_what_every_condition_holds_for(backend: Backend) {
    let (_app, store) = store_with_session(backend).await;
    let user = |name| Some(Username::parse(name).unwrap());
    let (now, _) = keys(&store).await;
    let none = [
        SessionSelection { user: user("user2"), ..SessionSelection::default() },
        SessionSelection { id: Some(SessionId([8; 16])), ..SessionSelection::default() },
        SessionSelection { opened_before: Some(UnixMillis(0)), ..SessionSelection::default() },
        SessionSelection { user: user("admin"), id: Some(SessionId([8; 16])), opened_before: None },
    ];
    for selection in none {
        assert_eq!(store.revoke_sessions(&selection).await.unwrap(), 0, "{selection:?}");
    }
    let all =
        SessionSelection { user: user("admin"), id: Some(ID), opened_before: Some(now.plus(Duration::from_hours(1))) };
    assert_eq!(store.revoke_sessions(&all).await.unwrap(), 1);
    assert_eq!(store.revoke_sessions(&all).await.unwrap(), 0);
    assert!(!rotates(&store, rotation(0, 1, false)).await);
}

async fn a_pepper_has_a_number_of_its_own_and_its_live_sessions_are_counted(backend: Backend) {
    let (app, store) = store_with_session(backend).await;
    let known = store.known_peppers().await.unwrap();
    assert_eq!(
        known.iter().map(|known| (known.id, known.throttle_key.is_none())).collect::<Vec<_>>(),
        [(PepperId(1), true)]
    );
    let second = KnownPepper { id: PepperId(2), check_value: vec![2; 32], throttle_key: Some(vec![3; 60]) };
    let late = KnownPepper { check_value: vec![4; 32], ..second.clone() };
    assert!(store.add_pepper(&second).await.unwrap());
    assert!(!store.add_pepper(&late).await.unwrap(), "the number is taken");
    assert_eq!(store.known_peppers().await.unwrap(), [known[0].clone(), second]);

    if backend == Backend::Sqlite {
        let indexed = "SELECT name FROM pragma_index_info('sessions_by_pepper')";
        assert_eq!(app.db_value::<String>(indexed).await, "pepper_id");
    }
    let live = async |number| {
        let live = store.live_sessions_of_pepper(PepperId(number)).await.unwrap();
        assert_eq!(store.pepper_has_live_sessions(PepperId(number)).await.unwrap(), live.count > 0);
        live
    };
    let until = Some(UnixMillis(app.db_session("idle_expires_at").await));
    let one = LiveSessions { count: 1, until };
    let none = LiveSessions { count: 0, until: None };
    assert_eq!((live(1).await, live(2).await), (one, none));
    app.db_execute("UPDATE users SET disabled_at = 1").await;
    assert_eq!(live(1).await, one, "that can be undone");
    for end in &ENDS[..3] {
        let (app, store) = store_with_session(backend).await;
        app.db_execute(end).await;
        assert_eq!(store.live_sessions_of_pepper(PepperId(1)).await.unwrap(), none, "{end}");
        assert!(!store.pepper_has_live_sessions(PepperId(1)).await.unwrap(), "{end}");
    }
}
