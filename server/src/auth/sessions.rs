//! What a user may do with the sessions of its own: see them, end one of them.

use std::sync::Arc;

use tracing::warn;

use super::whole::to_its_end;
use super::{Auth, Caller, InternalError};
use crate::domain::SessionId;
use crate::ports::SessionSummary;

impl Auth {
    /// Returns the caller's sessions that still live, the latest first.
    pub async fn sessions(&self, caller: Caller) -> Result<Vec<SessionSummary>, InternalError> {
        Ok(self.directory.sessions_of(caller.user_id).await?)
    }

    /// Revokes a session of the caller's own; answers whether there was one.
    pub async fn revoke_session(self: &Arc<Self>, caller: Caller, id: SessionId) -> Result<bool, InternalError> {
        let auth = Arc::clone(self);
        to_its_end(async move { auth.revoke(caller, id).await }).await?
    }

    async fn revoke(&self, caller: Caller, id: SessionId) -> Result<bool, InternalError> {
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
