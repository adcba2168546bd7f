//! Access: a token for the user that it speaks for.

use super::{Auth, InternalError};
use crate::domain::UserId;

/// Why a call was not let through.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Forged, expired, or of a session that is over: the client is not told which.
    #[error("invalid access token")]
    Refused,
    /// Not the client's fault.
    #[error(transparent)]
    Internal(#[from] InternalError),
}

impl Auth {
    /// Returns the user of a genuine access token, if its session is still live.
    ///
    /// Forgeries are refused without a look at the database. A database that is away is an internal error, never a refusal:
    /// the client would throw away a good session.
    pub async fn authorize(&self, token: &str) -> Result<UserId, AccessError> {
        let token = self.keys.verifying.verify(token).map_err(|_| AccessError::Refused)?;
        let row = self.store.session(token.session).await.map_err(InternalError::from)?;
        let row = row.ok_or(AccessError::Refused)?;
        token.check_expiry(row.state.now).map_err(|_| AccessError::Refused)?;
        if row.state.ended().is_some() || row.user_id != token.user_id {
            return Err(AccessError::Refused);
        }
        Ok(row.user_id)
    }
}
