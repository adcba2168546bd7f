use proptest::prelude::*;

use super::*;

const WINDOW: Duration = Duration::from_millis(500);

fn hash(seed: u8) -> AttemptHash {
    AttemptHash::from_bytes(&[seed; 32]).unwrap()
}

fn generation(number: i64) -> Generation {
    Generation::new(number).unwrap()
}

fn state() -> SessionState {
    SessionState {
        now: UnixMillis(10_000),
        generation: generation(5),
        rotated_at: UnixMillis(9_000),
        keyless: false,
        attempts: vec![hash(5), hash(4), hash(3), hash(2)],
        idle_expires_at: UnixMillis(20_000),
        absolute_expires_at: UnixMillis(30_000),
        revoked: false,
        user_enabled: true,
    }
}

fn decided(state: &SessionState, presented: i64, attempt: u8) -> RotationDecision {
    decide(state, generation(presented), hash(attempt), WINDOW)
}

#[test]
fn the_newest_and_any_newer_token_rotate() {
    assert_eq!(decided(&state(), 5, 99), RotationDecision::Rotate);
    assert_eq!(decided(&state(), 8, 99), RotationDecision::Rotate);
}

#[test]
fn the_same_attempt_gets_the_same_successor_at_any_age() {
    assert_eq!(decided(&state(), 4, 5), RotationDecision::SameSuccessor);
}

#[test]
fn without_a_key_the_window_counts() {
    let at = |now| SessionState { now: UnixMillis(now), keyless: true, ..state() };
    assert_eq!(decided(&at(9_500), 4, 99), RotationDecision::SameSuccessor);
    assert_eq!(decided(&at(9_501), 4, 99), RotationDecision::Reuse);
    // The database's clock was set back: a negative age counts as zero.
    assert_eq!(decided(&at(8_000), 4, 99), RotationDecision::SameSuccessor);
}

#[test]
fn a_rotation_with_a_key_has_no_window() {
    let just_now = SessionState { now: UnixMillis(9_000), ..state() };
    assert_eq!(decided(&just_now, 4, 99), RotationDecision::Reuse);
}

#[test]
fn two_generations_back_is_reuse_even_inside_the_window() {
    let just_now = SessionState { now: UnixMillis(9_000), keyless: true, ..state() };
    assert_eq!(decided(&just_now, 3, 99), RotationDecision::Reuse);
}

#[test]
fn a_remembered_attempt_comes_late_but_is_no_theft() {
    assert_eq!(decided(&state(), 3, 4), RotationDecision::LateDuplicate);
    assert_eq!(decided(&state(), 1, 2), RotationDecision::LateDuplicate);
    assert_eq!(decided(&state(), 0, 1), RotationDecision::Reuse);
}

#[test]
fn a_session_that_is_over_stays_over() {
    let over = |state: &SessionState| [3, 4, 5, 6].map(|g| decided(state, g, 5));
    let revoked = SessionState { revoked: true, ..state() };
    assert_eq!(over(&revoked), [RotationDecision::Ended(Ended::Revoked); 4]);
    let disabled = SessionState { user_enabled: false, ..state() };
    assert_eq!(over(&disabled), [RotationDecision::Ended(Ended::UserDisabled); 4]);
    let idle = SessionState { now: UnixMillis(20_000), ..state() };
    assert_eq!(over(&idle), [RotationDecision::Ended(Ended::Expired); 4]);
}

/// A row that follows the decisions as the store would.
struct Model {
    state: SessionState,
    alarms: u32,
}

impl Model {
    fn present(&mut self, presented: Generation, attempt: AttemptHash, keyless: bool) -> Option<Generation> {
        match decide(&self.state, presented, attempt, WINDOW) {
            RotationDecision::Rotate => {
                self.state.generation = presented.successor();
                self.state.rotated_at = self.state.now;
                self.state.keyless = keyless;
                self.state.attempts.insert(0, attempt);
                self.state.attempts.truncate(4);
                Some(self.state.generation)
            }
            RotationDecision::SameSuccessor => Some(self.state.generation),
            RotationDecision::LateDuplicate | RotationDecision::Ended(_) => None,
            RotationDecision::Reuse => {
                self.state.revoked = true;
                self.alarms += 1;
                None
            }
        }
    }
}

proptest! {
    #[test]
    fn every_answer_is_the_only_live_successor_and_the_alarm_rings_once(
        steps in prop::collection::vec((0..8_i64, 0..12_u8, any::<bool>(), 0..400_i64), 1..60)
    ) {
        let mut model = Model {
            state: SessionState {
                generation: Generation::FIRST,
                attempts: Vec::new(),
                idle_expires_at: UnixMillis(i64::MAX),
                absolute_expires_at: UnixMillis(i64::MAX),
                ..state()
            },
            alarms: 0,
        };
        for (back, seed, keyless, pause) in steps {
            model.state.now = UnixMillis(model.state.now.0 + pause);
            let newest = model.state.generation.number();
            let presented = generation((newest - back).max(0));
            let answer = model.present(presented, hash(seed), keyless);
            if let Some(answer) = answer {
                prop_assert_eq!(answer, model.state.generation);
                prop_assert_eq!(answer, presented.successor());
                prop_assert!(!model.state.revoked);
            }
            prop_assert!(model.state.generation.number() - newest <= 1);
        }
        prop_assert!(model.alarms <= 1);
    }

    #[test]
    fn a_client_that_repeats_its_attempt_is_never_logged_out(steps in prop::collection::vec(step(), 1..60)) {
        let far = UnixMillis(i64::MAX);
        let mut model = Model {
            state: SessionState {
                generation: Generation::FIRST,
                attempts: Vec::new(),
                idle_expires_at: far,
                absolute_expires_at: far,
                ..state()
            },
            alarms: 0,
        };
        let mut held = Generation::FIRST;
        // What was sent, and what the row was like after each answer.
        let (mut sent, mut rows) = (Vec::new(), vec![model.state.clone()]);
        for (step, seed) in steps.into_iter().zip(0..) {
            match step {
                Step::Refresh { lost_answers, pause } => {
                    let mut answer = model.present(held, hash(seed), false);
                    for _ in 0..lost_answers {
                        model.state.now = UnixMillis(model.state.now.0 + pause);
                        let again = model.present(held, hash(seed), false);
                        prop_assert_eq!(again, answer);
                        answer = again;
                    }
                    prop_assert!(answer.is_some());
                    sent.push((held, hash(seed)));
                    held = answer.unwrap();
                    rows.push(model.state.clone());
                }
                Step::Restore { back } => {
                    rows.truncate(rows.len().saturating_sub(back).max(1));
                    model.state = SessionState { now: model.state.now, ..rows.last().unwrap().clone() };
                    // What was on its way to the servers that were stopped will never arrive.
                    sent.retain(|(_, attempt)| model.state.attempts.contains(attempt));
                }
                Step::LateDuplicate { back } => {
                    if let Some((presented, attempt)) = sent.iter().rev().nth(back) {
                        let newest = model.state.generation;
                        let answer = model.present(*presented, *attempt, false);
                        prop_assert!(answer.is_none_or(|answer| answer == newest && back == 0));
                        prop_assert_eq!(model.state.generation, newest);
                    }
                }
            }
            prop_assert!(!model.state.revoked);
        }
        prop_assert_eq!(model.alarms, 0);
    }
}

/// What may happen to a client's session.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The client refreshes, and repeats that after each answer that is lost.
    Refresh { lost_answers: u8, pause: i64 },
    /// The database is restored: the row is as it was so many refreshes ago.
    Restore { back: usize },
    /// A request that was answered before, one of the last four, arrives once more.
    LateDuplicate { back: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u8, 0..100_000_i64).prop_map(|(lost_answers, pause)| Step::Refresh { lost_answers, pause }),
        1 => (0..8_usize).prop_map(|back| Step::Restore { back }),
        2 => (0..4_usize).prop_map(|back| Step::LateDuplicate { back }),
    ]
}
