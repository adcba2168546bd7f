//! Background refresh in long work: one task renews the tokens in the last part of their life, while everybody else goes
//! on using the live one. So nobody waits, however far apart the calls are.
//!
//! It goes by the time alone, never by refusals, and ends with its gate.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::sleep;

use super::Shared;
use super::core::{Landing, Step};
use super::decide::Want;
use crate::error::TokenError;
use crate::expiry;

/// Between two looks at the clock at most: it may have been set meanwhile, or a refusal may have brought other tokens.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// Tokens that live for less than this are renewed when they are asked for: a task that renewed them whenever they end
/// would send more refreshes than there are requests.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(1);

/// After a failure in the background at first, and at most: nobody waits for these refreshes, so there is no hurry.
const FIRST_PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(30);

pub(super) async fn keep_ahead(gate: Weak<Shared>) {
    let mut after_failure = FIRST_PAUSE_AFTER_FAILURE;
    loop {
        // Nothing of the gate is kept over the waits: the task must not keep it alive.
        let Some(ahead) = gate.upgrade().map(|shared| shared.renew_ahead()) else { return };
        let renewed = match ahead {
            Ahead::Nothing => true,
            Ahead::Flight(landing) => landing.outcome().await.is_ok(),
            Ahead::Failed => false,
            Ahead::Over => return,
        };
        let Some(shared) = gate.upgrade() else { return };
        let pause = if renewed {
            after_failure = FIRST_PAUSE_AFTER_FAILURE;
            shared.until_ahead().clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
        } else {
            let pause = after_failure;
            after_failure = (after_failure * 2).min(LONGEST_PAUSE_AFTER_FAILURE);
            pause
        };
        drop(shared);
        sleep(pause).await;
    }
}

/// What there is to do ahead of time.
enum Ahead {
    Nothing,
    Flight(Landing),
    /// An earlier failure still speaks for this one.
    Failed,
    /// Nothing, and never again.
    Over,
}

impl Shared {
    /// Starts a flight if the tokens are in the last part of their life, or finds the one in the air.
    fn renew_ahead(self: &Arc<Self>) -> Ahead {
        let lifetime = self.core.current().access_lifetime;
        if lifetime.duration().is_some_and(|lifetime| lifetime < SHORTEST_LIFETIME) {
            return Ahead::Nothing;
        }
        match self.core.ask(Want::Ahead, self.ports.clock.now()) {
            Step::Fly(takeoff) => Ahead::Flight(self.take_off(takeoff, Want::Ahead, None)),
            Step::Wait(landing) => Ahead::Flight(landing),
            Step::Use(_) => Ahead::Nothing,
            Step::Fail(error) if matches!(*error, TokenError::Closing) || !error.leaves_session_usable() => Ahead::Over,
            Step::Fail(_) => Ahead::Failed,
        }
    }

    /// Returns the time until the tokens are in the last part of their life.
    fn until_ahead(&self) -> Duration {
        let current = self.core.current();
        let left = expiry::remaining(current.received_at, current.access_lifetime, self.ports.clock.now());
        left.map_or(LONGEST_PAUSE, |left| left.saturating_sub(current.access_lifetime.ahead()))
    }
}
