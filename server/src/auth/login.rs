//! Log in: a name and a password for a session.

use tracing::debug;

use super::{Auth, InternalError, TokenPair};
use crate::domain::{Password, SessionId, Username};
use crate::password::PasswordError;
use crate::ports::NewSession;
use crate::random;

/// Why a login was refused.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// No such user, a wrong password, or one that was changed a moment ago: the client is not told which.
    #[error("invalid user name or password")]
    Refused,
    /// Too many others are logging in: the client may come back in a moment.
    #[error("too many passwords wait to be hashed")]
    Busy,
    /// Not the client's fault.
    #[error(transparent)]
    Internal(#[from] InternalError),
}

impl From<PasswordError> for LoginError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Busy,
            error => Self::Internal(error.into()),
        }
    }
}

impl Auth {
    /// Opens a session for the user of this name and password.
    ///
    /// A name that nobody can have is as unknown as any other, and costs the same time.
    /// The turn to hash comes first: a flood of logins costs the database no more than there is room for.
    pub async fn login(&self, name: &str, password: Password) -> Result<TokenPair, LoginError> {
        let turn = self.passwords.turn().await?;
        let stored = match Username::parse(name) {
            Ok(name) => self.store.login(&name).await.map_err(InternalError::from)?,
            Err(_) => None,
        };
        let hash = stored.as_ref().map(|stored| stored.password_hash.clone());
        let matches = turn.verify(password, hash).await?;
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
