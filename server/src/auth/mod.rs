//! What the server does for its clients: log in, refresh, log out, let a call through.
//!
//! The rules are in [`crate::domain`], the rows behind [`crate::ports`]; here they meet. Nothing here knows of HTTP.

mod access;
mod in_flight;
mod login;
mod logout;
mod readiness;
mod refresh;
mod sessions;
mod throttle;
mod verdicts;
mod whole;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

pub use access::{AccessError, Caller};
pub use login::LoginError;
pub use logout::LogoutOutcome;
pub use refresh::RefreshError;

use self::in_flight::InFlight;
use self::readiness::Readiness;
use self::verdicts::Verdicts;
use crate::domain::{AccessClaims, Lifetimes, RefreshToken, SessionId, SessionKey, ThrottleKey};
use crate::keys::{KeyError, KeyRing};
use crate::password::Passwords;
use crate::pepper::Peppers;
use crate::ports::{LiveSession, LoginAttempts, PepperId, SessionDirectory, SessionStore, StoreError};
use crate::random;

/// The server's promises, apart from how they are carried.
pub struct Auth {
    /// Where the sessions are.
    pub store: Arc<dyn SessionStore>,
    /// The same sessions, as their users manage them.
    pub directory: Arc<dyn SessionDirectory>,
    /// Where failed logins are counted.
    pub attempts: Arc<dyn LoginAttempts>,
    /// What refresh tokens are derived from.
    pub peppers: Arc<Peppers>,
    /// What signs and verifies access tokens.
    pub keys: KeyRing,
    /// What hashes passwords.
    pub passwords: Passwords,
    /// How long things live.
    pub lifetimes: Lifetimes,
    /// What failed logins are counted under.
    throttle: ThrottleKey,
    /// The logins that this server is about.
    in_flight: InFlight,
    /// What is known of sessions that were asked for of late. Forgotten by whatever ends one of them.
    verdicts: Verdicts,
    /// Whether the database did its work a moment ago.
    readiness: Readiness,
}

/// What a login or a refresh answers.
#[derive(Debug)]
pub struct TokenPair {
    /// The new access token.
    pub access_token: SecretString,
    /// The newest refresh token of the session.
    pub refresh_token: SecretString,
    /// How long the access token is good for.
    pub expires_in: Duration,
    /// How long the refresh token is good for.
    pub refresh_expires_in: Duration,
}

/// Something that no client can cause or mend.
#[derive(Debug, thiserror::Error)]
pub enum InternalError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Password hashing.
    #[error(transparent)]
    Password(#[from] crate::password::PasswordError),
    /// The keys of access tokens.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// A session that was opened with a pepper that this server does not have (yet): it is not the client's to lose.
    #[error("a session needs the pepper {}, which this server was not started with", .0.0)]
    PepperMissing(PepperId),
    /// A row that changes each time it is looked at.
    #[error("the session kept changing while it was refreshed")]
    Contended,
    /// The task that was about it has died.
    #[error("the request was given up")]
    GivenUp(#[from] tokio::task::JoinError),
}

impl Auth {
    /// Puts the parts together.
    pub fn new(
        store: Arc<dyn SessionStore>,
        directory: Arc<dyn SessionDirectory>,
        attempts: Arc<dyn LoginAttempts>,
        peppers: Arc<Peppers>,
        keys: KeyRing,
        passwords: Passwords,
        lifetimes: Lifetimes,
    ) -> Self {
        let throttle = peppers.throttle_key();
        Self {
            store,
            directory,
            attempts,
            peppers,
            keys,
            passwords,
            lifetimes,
            throttle,
            in_flight: InFlight::default(),
            verdicts: Verdicts::new(),
            readiness: Readiness::default(),
        }
    }

    /// Makes the pair of tokens for the newest state of a session.
    async fn token_pair(
        &self,
        id: SessionId,
        key: &SessionKey,
        session: LiveSession,
    ) -> Result<TokenPair, InternalError> {
        let LiveSession { user_id, generation, now, idle_expires_at } = session;
        let session_life = idle_expires_at.since(now);
        // The last access token of a session ends with it.
        let access_life = self.lifetimes.access.min(session_life);
        let token_id = random::word::<16>();
        let claims = AccessClaims::new(user_id, id, token_id, now, access_life);
        let access_token = SecretString::from(self.keys.sign(&claims, now).await?);
        Ok(TokenPair {
            access_token,
            refresh_token: key.sign(RefreshToken { session: id, generation }),
            expires_in: access_life,
            refresh_expires_in: session_life,
        })
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("lifetimes", &self.lifetimes).finish_non_exhaustive()
    }
}
