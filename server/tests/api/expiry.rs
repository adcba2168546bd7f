//! Sessions over time, on real stores against the rules of the domain: what is decided on a row is what the statements do.

use std::time::Duration;

use authcli_server::domain::{
    AttemptHash, Generation, Lifetimes, RotationDecision, SessionId, UnixMillis, Username, decide,
};
use authcli_server::ports::{NewSession, PepperId, Reuse, Rotation, SessionRow, Store};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Handle;

use crate::helpers::{Backend, TestApp, on_both_stores, spawn_app_on};

on_both_stores!(r7_stores_do_what_is_decided_and_no_rotation_extends_the_absolute_end);

const IDLE: Duration = Duration::from_mins(1);
const ABSOLUTE: Duration = Duration::from_secs(150);
const WINDOW: Duration = Duration::from_secs(5);

/// What somebody does: wait, then present a token so many generations back.
#[derive(Clone, Debug)]
struct Step {
    seconds: i64,
    back: i64,
    attempt: u8,
    keyless: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let seconds = prop_oneof![4 => 0..8_i64, 4 => 20..40_i64, 1 => 55..65_i64];
    // Mostly the newest token, else most sessions would be over after two steps.
    let back = prop_oneof![6 => Just(0), 1 => Just(-1), 3 => Just(1), 1 => 2..4_i64];
    let step = (seconds, back, 0..5_u8, any::<bool>());
    let step = step.prop_map(|(seconds, back, attempt, keyless)| Step { seconds, back, attempt, keyless });
    prop::collection::vec(step, 4..16)
}

async fn r7_stores_do_what_is_decided_and_no_rotation_extends_the_absolute_end(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let store = app.store().await;
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let number = std::cell::Cell::new(0_u8);
    let result = runner.run(&steps(), |steps| {
        number.set(number.get().wrapping_add(1));
        let id = SessionId([number.get(); 16]);
        tokio::task::block_in_place(|| Handle::current().block_on(live(&app, &*store, id, &steps)));
        Ok(())
    });
    result.unwrap();
}

/// Lives through the steps with a session of its own; the others are long over by then, or do not matter.
async fn live(app: &TestApp, store: &dyn Store, id: SessionId, steps: &[Step]) {
    let user = store.login(&Username::parse("admin").unwrap()).await.unwrap().unwrap();
    let session = NewSession {
        id,
        user_id: user.user_id,
        epoch: user.epoch,
        salt: [1; 32],
        pepper_id: PepperId(1),
        lifetimes: Lifetimes { access: IDLE, refresh: IDLE, session: ABSOLUTE },
    };
    let opened = store.open_session(session).await.unwrap().unwrap();
    assert_eq!(opened.idle_expires_at, opened.now.plus(IDLE));
    let mut absolute_end = opened.now.plus(ABSOLUTE);
    for step in steps {
        // Time that passes is a row that moves back.
        let millis = step.seconds * 1000;
        app.db_execute(&format!(
            "UPDATE sessions SET rotated_at = rotated_at - {millis}, idle_expires_at = idle_expires_at - {millis},
             absolute_expires_at = absolute_expires_at - {millis}"
        ))
        .await;
        absolute_end = UnixMillis(absolute_end.0 - millis);
        let before = read(store, id).await;
        assert_eq!(before.state.absolute_expires_at, absolute_end, "{step:?}");
        assert!(before.state.idle_expires_at <= absolute_end, "{step:?}");

        let newest = before.state.generation.number();
        let presented = Generation::new((newest - step.back).max(0)).unwrap();
        let attempt = AttemptHash::from_bytes(&[step.attempt; 32]).unwrap();
        let rotation = Rotation { session: id, presented, attempt, keyless: step.keyless, idle: IDLE };
        let rotated = store.rotate(rotation).await.unwrap();
        let reuse = Reuse { session: id, presented, attempt, repeat_window: WINDOW };
        let revoked = rotated.is_none() && store.revoke_reused(reuse).await.unwrap();
        let after = read(store, id).await;

        // What was decided on at some moment between the two readings.
        let decided = |now| decide(&with_clock(&before, now).state, presented, attempt, WINDOW);
        let done = match (rotated, revoked) {
            (Some(_), _) => "rotated",
            (None, true) => "revoked",
            (None, false) => "nothing",
        };
        let expected = [before.state.now, after.state.now].map(|now| match decided(now) {
            RotationDecision::Rotate => "rotated",
            RotationDecision::Reuse => "revoked",
            RotationDecision::SameSuccessor | RotationDecision::LateDuplicate | RotationDecision::Ended(_) => "nothing",
        });
        assert!(expected.contains(&done), "{step:?}: {done}, expected {expected:?}");
        assert_eq!(after.state.revoked, before.state.revoked || revoked, "{step:?}");
        if let Some(rotated) = rotated {
            assert_eq!(rotated.generation, presented.successor(), "{step:?}");
            assert_eq!(rotated.idle_expires_at, rotated.now.plus(IDLE).min(absolute_end), "{step:?}");
            assert_eq!(after.state.attempts.first(), Some(&attempt), "{step:?}");
            assert_eq!(after.state.keyless, step.keyless, "{step:?}");
        } else {
            assert_eq!(after.state.generation, before.state.generation, "{step:?}");
            assert_eq!(after.state.idle_expires_at, before.state.idle_expires_at, "{step:?}");
        }
    }
}

fn with_clock(row: &SessionRow, now: UnixMillis) -> SessionRow {
    let mut row = row.clone();
    row.state.now = now;
    row
}

async fn read(store: &dyn Store, id: SessionId) -> SessionRow {
    store.session(id).await.unwrap().unwrap()
}
