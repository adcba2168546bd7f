//! Access: a token for the user that it speaks for.

use std::sync::Arc;

use super::{Auth, InternalError};
use crate::domain::{SessionId, UserId};
use crate::keys::VerifyError;

/// Who calls, by a genuine access token of a live session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user_id: UserId,
    /// The session that the token was made in.
    pub session: SessionId,
}

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
    /// Returns who brings a genuine access token, if its session still lives.
    ///
    /// Forgeries are refused without a look at the database, but for one a second that names an unknown key. A database that is away is an internal error, never a refusal:
    /// the client would throw away a good session.
    pub async fn authorize(&self, token: &str) -> Result<Caller, AccessError> {
        let token = match self.keys.verify(token).await {
            Ok(token) => token,
            Err(VerifyError::Refused(_)) => return Err(AccessError::Refused),
            Err(VerifyError::Keys(error)) => return Err(InternalError::from(error).into()),
        };
        let read = || {
            let store = Arc::clone(&self.store);
            async move { store.session(token.session).await }
        };
        let reading = self.verdicts.reading(token.session, read).await.map_err(InternalError::from)?;
        if reading.user() != Some(token.user_id) {
            return Err(AccessError::Refused);
        }
        token.check_expiry(reading.now()).map_err(|_| AccessError::Refused)?;
        Ok(Caller { user_id: token.user_id, session: token.session })
    }
}
