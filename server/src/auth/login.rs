//! Log in: a name and a password for a session.

use tracing::debug;

use super::{Auth, InternalError, TokenPair};
use crate::domain::{Password, SessionId, Username};
use crate::ports::NewSession;
use crate::random;

/// Why a login was refused.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// No such user, a wrong password, or one that was changed a moment ago: the client is not told which.
    #[error("invalid user name or password")]
    Refused,
    /// Not the client's fault.
    #[error(transparent)]
    Internal(#[from] InternalError),
}

impl Auth {
    /// Opens a session for the user of this name and password.
    ///
    /// A name that nobody can have is as unknown as any other, and costs the same time.
    pub async fn login(&self, name: &str, password: Password) -> Result<TokenPair, LoginError> {
        let stored = match Username::parse(name) {
            Ok(name) => self.store.login(&name).await.map_err(InternalError::from)?,
            Err(_) => None,
        };
        let hash = stored.as_ref().map(|stored| stored.password_hash.clone());
        let matches = self.passwords.verify(password, hash).await.map_err(InternalError::from)?;
        let Some(stored) = stored.filter(|_| matches) else {
            return Err(LoginError::Refused);
        };
        let session = NewSession {
            id: SessionId(random::bytes()),
            user_id: stored.user_id,
            epoch: stored.epoch,
            salt: random::bytes(),
            pepper_id: self.pepper.id(),
            lifetimes: self.lifetimes,
        };
        let (id, key) = (session.id, self.pepper.session_key(&session.salt));
        let opened = self.store.open_session(session).await.map_err(InternalError::from)?;
        let opened = opened.ok_or(LoginError::Refused)?;
        debug!(user_id = %opened.user_id, session = %id, "session opened");
        Ok(self.token_pair(id, &key, opened).await?)
    }
}
