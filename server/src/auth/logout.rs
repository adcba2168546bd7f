//! Log out: end the session that a refresh token belongs to.

use std::sync::Arc;

use tracing::debug;

use super::whole::to_its_end;
use super::{Auth, InternalError};
use crate::domain::PresentedRefreshToken;

/// What a logout did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogoutOutcome {
    /// The session is over now.
    Ended,
    /// There was nothing to end; whoever asked wanted just that.
    NothingToEnd,
}

impl Auth {
    /// Ends the session of a genuine token of any generation. A used one counts as well as the newest, and never as reuse:
    /// who logs out is done with it.
    pub async fn logout(self: &Arc<Self>, token: &str) -> Result<LogoutOutcome, InternalError> {
        let Ok(presented) = PresentedRefreshToken::parse(token) else {
            return Ok(LogoutOutcome::NothingToEnd);
        };
        let auth = Arc::clone(self);
        to_its_end(async move { auth.end(&presented).await }).await?
    }

    async fn end(&self, presented: &PresentedRefreshToken) -> Result<LogoutOutcome, InternalError> {
        let id = presented.claimed_session();
        let row = self.store.session(id).await?;
        let genuine = self.keys_of(row)?.is_some_and(|(_, key)| key.verify(presented).is_some());
        if !genuine {
            return Ok(LogoutOutcome::NothingToEnd);
        }
        let ended = self.store.end_session(id).await;
        // Also after an error: nobody knows what it left undone.
        self.verdicts.forget(id);
        if ended? {
            debug!(session = %id, "session ended by logout");
            return Ok(LogoutOutcome::Ended);
        }
        Ok(LogoutOutcome::NothingToEnd)
    }
}
