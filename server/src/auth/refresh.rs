//! Refresh: a refresh token for its successor.
//!
//! Read the row, check the tag, decide, do it in one statement that repeats the conditions. If the row has moved on
//! meanwhile, read and decide again: with the attempt key in hand that ends at the same answer.

use std::sync::Arc;

use tracing::{debug, warn};

use super::whole::to_its_end;
use super::{Auth, InternalError, TokenPair};
use crate::domain::{AttemptKey, PresentedRefreshToken, RotationDecision, SessionKey, decide};
use crate::ports::{LiveSession, Reuse, Rotation, SessionRow};
use crate::random;

/// How often a row may change between its reading and its writing before we give up on it.
const ROUNDS: usize = 8;

/// Why a refresh was refused.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// Forged, used up, or of a session that is over: the client is not told which.
    #[error("invalid refresh token")]
    Refused,
    /// Not the client's fault.
    #[error(transparent)]
    Internal(#[from] InternalError),
}

impl Auth {
    /// Answers the successor of a refresh token, sent with or without an attempt key.
    ///
    /// What it has begun is done to its end also where nobody waits for the answer any more.
    pub async fn refresh(
        self: &Arc<Self>,
        token: &str,
        attempt: Option<AttemptKey>,
    ) -> Result<TokenPair, RefreshError> {
        let presented = PresentedRefreshToken::parse(token).map_err(|_| RefreshError::Refused)?;
        let auth = Arc::clone(self);
        to_its_end(async move { auth.succeed(&presented, attempt).await }).await?
    }

    async fn succeed(
        &self,
        presented: &PresentedRefreshToken,
        attempt: Option<AttemptKey>,
    ) -> Result<TokenPair, RefreshError> {
        let keyless = attempt.is_none();
        let attempt = attempt.unwrap_or_else(own_attempt_key);
        let id = presented.claimed_session();
        for _ in 0..ROUNDS {
            let row = self.store.session(id).await.map_err(InternalError::from)?;
            let (row, key) = self.keys_of(row)?.ok_or(RefreshError::Refused)?;
            let token = key.verify(presented).ok_or(RefreshError::Refused)?;
            let attempt = key.hash_attempt(token.generation, &attempt);
            let window = self.lifetimes.repeat_window();
            match decide(&row.state, token.generation, attempt, window) {
                RotationDecision::Rotate => {
                    let rotation = Rotation {
                        session: id,
                        presented: token.generation,
                        attempt,
                        keyless,
                        idle: self.lifetimes.refresh,
                    };
                    // First of all: a session that has moved on and whose token cannot be signed would look like reuse.
                    self.keys.prepare(row.state.now).await.map_err(InternalError::from)?;
                    let rotated = self.store.rotate(rotation).await.map_err(InternalError::from)?;
                    if let Some(rotated) = rotated {
                        if token.generation > row.state.generation {
                            warn!(session = %id, "a refresh token is ahead of the database, which must have lost its last moments");
                        }
                        return Ok(self.token_pair(id, &key, rotated).await?);
                    }
                    debug!(session = %id, "the session changed before it was rotated");
                }
                RotationDecision::SameSuccessor => {
                    debug!(session = %id, "the same successor is answered again");
                    let session = newest(&row);
                    return Ok(self.token_pair(id, &key, session).await?);
                }
                RotationDecision::LateDuplicate => {
                    // Of a thief who is two steps ahead of the owner there is no other sign. A client repeats itself a few
                    // times at most, each of which is a request with a line of its own anyway.
                    warn!(session = %id, "a refresh that was answered before has arrived once more");
                    return Err(RefreshError::Refused);
                }
                RotationDecision::Reuse => {
                    let reuse = Reuse { session: id, presented: token.generation, attempt, repeat_window: window };
                    let revoked = self.store.revoke_reused(reuse).await;
                    self.verdicts.forget(id);
                    if revoked.map_err(InternalError::from)? {
                        warn!(session = %id, user_id = %row.user_id, "refresh token reuse: session revoked");
                    }
                    return Err(RefreshError::Refused);
                }
                RotationDecision::Ended(why) => {
                    debug!(session = %id, ?why, "the session is over");
                    return Err(RefreshError::Refused);
                }
            }
        }
        Err(RefreshError::Internal(InternalError::Contended))
    }

    /// Derives the keys of a session from its row; none if there is no row, or if it is over and so is its pepper's time.
    pub(super) fn keys_of(&self, row: Option<SessionRow>) -> Result<Option<(SessionRow, SessionKey)>, InternalError> {
        let Some(row) = row else { return Ok(None) };
        match self.peppers.session_key(row.pepper_id, &row.salt) {
            Some(key) => Ok(Some((row, key))),
            None if row.state.ended().is_some() => Ok(None),
            None => Err(InternalError::PepperMissing(row.pepper_id)),
        }
    }
}

/// A key for a client that sent none, so that each round above is the same attempt.
fn own_attempt_key() -> AttemptKey {
    AttemptKey::from(random::word::<32>())
}

fn newest(row: &SessionRow) -> LiveSession {
    LiveSession {
        user_id: row.user_id,
        generation: row.state.generation,
        now: row.state.now,
        idle_expires_at: row.state.idle_expires_at,
    }
}
