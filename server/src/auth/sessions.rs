//! What a user may do with the sessions of its own: see them, end one of them.

use tracing::warn;

use super::{Auth, Caller, InternalError};
use crate::domain::SessionId;
use crate::ports::SessionSummary;

impl Auth {
    /// Returns the caller's sessions that still live, the latest first.
    pub async fn sessions(&self, caller: Caller) -> Result<Vec<SessionSummary>, InternalError> {
        Ok(self.directory.sessions_of(caller.user_id).await?)
    }

    /// Revokes a session of the caller's own; answers whether there was one.
    pub async fn revoke_session(&self, caller: Caller, id: SessionId) -> Result<bool, InternalError> {
        let revoked = self.directory.revoke_session_of(caller.user_id, id).await;
        // Also after an error: nobody knows what it left undone.
        self.verdicts.forget(id);
        let revoked = revoked?;
        if revoked {
            warn!(session = %id, user_id = %caller.user_id, by = %caller.session, "session revoked by its user");
        }
        Ok(revoked)
    }
}
