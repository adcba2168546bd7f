//! What needs a pepper: as long as there is anything, it must not go.

use std::fmt;

use super::PepperError;
use crate::domain::{KeyPhase, KeyTimes};
use crate::ports::{KeyList, KeyStore, KnownPepper, LiveSessions, PepperId, StoreError};
use crate::text::counted;

/// What cannot go on without a pepper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Sessions that were opened with it and still live.
    pub sessions: LiveSessions,
    /// Signing keys that are sealed under it and not dead.
    pub keys: usize,
}

impl Needs {
    pub(super) async fn of(id: PepperId, keys: &KeyList, store: &dyn KeyStore) -> Result<Self, StoreError> {
        Ok(Self { sessions: store.live_sessions_of_pepper(id).await?, keys: living_keys(id, keys) })
    }

    /// Answers whether there is nothing.
    pub fn is_nothing(&self) -> bool {
        self.sessions.count == 0 && self.keys == 0
    }
}

/// Answers whether anything needs a pepper, without counting what does: that takes long where there are many sessions.
pub(super) async fn is_needed(id: PepperId, keys: &KeyList, store: &dyn KeyStore) -> Result<bool, StoreError> {
    Ok(living_keys(id, keys) > 0 || store.pepper_has_live_sessions(id).await?)
}

/// Counts the signing keys that are sealed under a pepper and not dead.
fn living_keys(id: PepperId, keys: &KeyList) -> usize {
    let times: Vec<KeyTimes> = keys.keys.iter().map(|key| key.times).collect();
    let phases = KeyTimes::phases(&times, keys.now);
    let living = keys.keys.iter().zip(phases).filter(|(_, phase)| *phase != KeyPhase::Dead);
    living.filter(|(key, _)| key.key.pepper_id == id).count()
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", counted(self.sessions.count, "session"))?;
        if let Some(until) = self.sessions.until {
            write!(f, " (the last until {} unless refreshed)", until.to_the_second())?;
        }
        write!(f, " and {}", counted(self.keys as u64, "signing key"))
    }
}

/// Refuses to go on without one of these that something needs.
pub(super) async fn refuse_needed(
    missing: impl Iterator<Item = &KnownPepper> + Send,
    store: &dyn KeyStore,
) -> Result<(), PepperError> {
    let missing: Vec<PepperId> = missing.map(|known| known.id).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let keys = store.signing_keys().await?;
    for id in missing {
        if is_needed(id, &keys, store).await? {
            return Err(PepperError::StillNeeded { id, needed: Needs::of(id, &keys, store).await? });
        }
    }
    Ok(())
}
