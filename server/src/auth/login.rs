//! Log in: a name and a password for a session.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, warn};

use super::throttle::Attempt;
use super::whole::to_its_end;
use super::{Auth, InternalError, TokenPair};
use crate::domain::{Password, SessionId, Username};
use crate::password::{Comparison, PasswordError, Turn};
use crate::ports::{NewSession, PasswordHash, StoredLogin};
use crate::random;

/// Why a login was refused.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// No such user, a wrong password, or one that was changed a moment ago: the client is not told which.
    #[error("invalid user name or password")]
    Refused,
    /// Too many failures before this attempt; it was not looked at.
    #[error("too many failed logins")]
    Throttled {
        /// When to come back.
        wait: Duration,
    },
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
    /// Opens a session for the user of this name and password; `from` is the client's address.
    ///
    /// A name that nobody can have is as unknown as any other, and costs the same time.
    /// The attempt is counted when it has its turn: as few count at a time as are hashed at a time, so many logins that
    /// are right do not look like failures to each other.
    /// From then on it is done to its end also where nobody waits for the answer any more: going away is no failure.
    pub async fn login(
        self: &Arc<Self>,
        name: &str,
        password: Password,
        from: IpAddr,
    ) -> Result<TokenPair, LoginError> {
        // Before the database is asked anything: of a flood most find no place.
        self.passwords.expect_room()?;
        let attempt = self.attempt(name, from).await?;
        let turn = self.passwords.turn().await?;
        let (auth, name) = (Arc::clone(self), Username::parse(name).ok());
        to_its_end(async move { auth.check(turn, attempt, name.as_ref(), password).await }).await?
    }

    async fn check(
        &self,
        turn: Turn,
        mut attempt: Attempt,
        name: Option<&Username>,
        password: Password,
    ) -> Result<TokenPair, LoginError> {
        let counted_at = self.reserve(&mut attempt).await?;
        let compared = match self.compare(turn, name, password).await {
            Ok(compared) => compared,
            Err(error) => {
                self.refund(&attempt).await;
                return Err(error);
            }
        };
        let (stored, renewed) = match compared {
            (Some(stored), Comparison::Same { renewed }) => (stored, renewed),
            (other, _) => {
                attempt.failed(other.map(|stored| stored.user_id));
                return Err(LoginError::Refused);
            }
        };
        let session = NewSession {
            id: SessionId(random::bytes()),
            user_id: stored.user_id,
            epoch: stored.epoch,
            salt: random::bytes(),
            pepper_id: self.peppers.newest(),
            lifetimes: self.lifetimes,
        };
        let (id, pepper_id) = (session.id, session.pepper_id);
        let key = self.peppers.session_key(pepper_id, &session.salt).ok_or(InternalError::PepperMissing(pepper_id))?;
        // At once: where writes wait for a disk, they wait for it together.
        let open = async {
            // First of all: nobody should have a session and no token of it.
            self.keys.prepare(counted_at).await?;
            Ok::<_, InternalError>(self.store.open_session(session).await?)
        };
        let (opened, (), (), ()) =
            tokio::join!(open, self.refund(&attempt), self.remember(&attempt), self.renew(&stored, renewed));
        let opened = opened?.ok_or(LoginError::Refused)?;
        debug!(user_id = %opened.user_id, session = %id, "session opened");
        Ok(self.token_pair(id, &key, opened).await?)
    }

    /// Compares a password with the one of the user of this name, and with none where there is no such user.
    async fn compare(
        &self,
        turn: Turn,
        name: Option<&Username>,
        password: Password,
    ) -> Result<(Option<StoredLogin>, Comparison), LoginError> {
        let stored = match name {
            Some(name) => self.store.login(name).await.map_err(InternalError::from)?,
            None => None,
        };
        let hash = stored.as_ref().map(|stored| stored.password_hash.clone());
        let compared = turn.compare(password, hash).await?;
        Ok((stored, compared))
    }

    /// Keeps a better hash of the password. If that fails, or the password was changed meanwhile, the next login may do it.
    async fn renew(&self, checked: &StoredLogin, renewed: Option<PasswordHash>) {
        let Some(renewed) = renewed else { return };
        let user_id = checked.user_id;
        match self.store.renew_password_hash(checked, &renewed).await {
            Ok(done) => debug!(%user_id, done, "the password was hashed anew"),
            Err(error) => warn!(%user_id, %error, "could not keep a password's new hash"),
        }
    }
}
