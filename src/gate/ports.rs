//! What the gate needs of the world, as traits. The rooms that implement them import the gate, never the other way.

use std::any::Any;
use std::future::{pending, ready};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::timeout;

use super::stamp::Stamp;
use crate::error::{Cause, StoreError, TokenError};
use crate::token::{IssuedTokens, TokenSet};

/// Tells the time of day.
pub trait Clock: Send + Sync + 'static {
    /// Returns the time of now on the local clock, which may jump.
    fn now(&self) -> Timestamp;
}

/// Keeps one credential across processes.
pub trait TokenStore: Send + Sync + 'static {
    /// Returns what is stored, or `None` when nothing is.
    fn load(&self) -> BoxFuture<'_, Result<Option<TokenSet>, StoreError>>;

    /// Proves that a save would have a place to go to, before the only copy of a refresh token is spent.
    fn prove_writable<'a>(&'a self, held: &'a Held) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Replaces what is stored, durably and as a whole: a crash leaves the old entry or the new one.
    fn save<'a>(&'a self, held: &'a Held, tokens: &'a TokenSet) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Forgets what is stored. Nothing stored is no error.
    fn clear<'a>(&'a self, held: &'a Held) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// The place where processes that share a credential meet: its lock, and the stamp beside it.
pub trait Rendezvous: Send + Sync + 'static {
    /// Takes the lock if nobody holds it. Never waits for the holder. An error tells that the lock cannot be had at all.
    fn try_lock(&self) -> BoxFuture<'_, Result<Option<Held>, TokenError>>;

    /// Returns who says to hold the lock, for messages alone.
    fn holder(&self) -> BoxFuture<'_, LockHolder>;

    /// Returns the stamp. One that is missing or unreadable is `None`, and with it goes what only it knows: that the session
    /// has ended, that somebody failed a moment ago, that the store shows less than was saved.
    fn stamp(&self) -> BoxFuture<'_, Option<Stamp>>;

    /// Replaces the stamp.
    fn set_stamp<'a>(&'a self, held: &'a Held, stamp: &'a Stamp) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// How long somebody waits for another process's lock. Longer than a renewal and a save take together; a disk that hangs
/// may still hold its lock for longer.
pub const LOCK_BOUND: Duration = Duration::from_secs(45);

/// How long a renewal may take, tries and pauses included. One that takes longer is cut off, and counts as one that nobody
/// knows the outcome of.
pub const RENEWAL_BOUND: Duration = Duration::from_secs(30);

/// How long the revocation of a refused session may take. The lock is held meanwhile, and the callers wait for it.
pub const REVOCATION_BOUND: Duration = Duration::from_secs(3);

/// Obtains new tokens for a session that stands.
pub trait Renewal: Send + Sync + 'static {
    /// Redeems what `tokens` holds. May try several times within [`RENEWAL_BOUND`], always under
    /// `tokens.attempt_key`, so that all tries are one attempt to the server.
    ///
    /// A try that has begun is finished also on the way out; none is begun there, and no pause is made.
    fn renew<'a>(
        &'a self,
        tokens: &'a TokenSet,
        way_out: &'a WayOut,
    ) -> BoxFuture<'a, Result<IssuedTokens, RenewalError>>;

    /// Revokes the session of `tokens`, whose refresh token was clearly refused although nobody here has a newer one; at most
    /// [`REVOCATION_BOUND`] long.
    ///
    /// Somebody else may have: whoever copied the store goes on with what the copy became, and a server that recognises attempts
    /// takes the owner's refresh for a late repetition of its own, which ends nothing. Other servers end a session for a
    /// token that was used again, or revoke more than the one session; for those there is nothing to do, as here.
    fn revoke_refused<'a>(&'a self, _tokens: &'a TokenSet) -> BoxFuture<'a, Result<(), Cause>> {
        Box::pin(ready(Ok(())))
    }
}

/// Tells whether the program is on its way out: whoever has not sent anything by then does not begin.
#[derive(Clone, Debug)]
pub struct WayOut(watch::Receiver<bool>);

impl WayOut {
    /// A way out, and the sender of the word that it has begun.
    pub fn new() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Returns whether it has begun.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for `pause`, or until it begins; returns whether it has.
    pub async fn begins_within(&self, pause: Duration) -> bool {
        // Whoever could begin it is gone where this fails, so it never will.
        let mut begun = self.0.clone();
        let begins = async {
            if begun.wait_for(|begun| *begun).await.is_err() {
                pending::<()>().await;
            }
        };
        timeout(pause, begins).await.is_ok()
    }
}

/// Why tokens were not renewed.
#[derive(Debug)]
pub enum RenewalError {
    /// A clear refusal: the session is over.
    SessionEnded {
        /// What the server said, fit to be shown.
        reason: String,
        /// Whether an earlier try of this renewal was sent and got no answer: the server may have done then what it
        /// refuses now.
        unanswered: bool,
    },
    /// There is no refresh token to redeem. That is no refusal: nobody was asked, and the access token may live on.
    NothingToRedeem,
    /// The refresh token is not good yet, and a server may end the session of whoever redeems it before. Nobody was asked.
    NotYet {
        /// For how long not.
        wait: Duration,
    },
    /// Not now: the session stands.
    Transient {
        /// What happened.
        cause: Cause,
        /// How long the server asked to be left alone.
        retry_after: Option<Duration>,
        /// Whether a try was sent and got no usable answer: the server may have renewed all the same.
        unanswered: bool,
    },
    /// The endpoint is not what it is taken for: the session stands, but asking again will not help.
    Misconfigured {
        /// What does not fit.
        cause: Cause,
        /// Whether an earlier try of this renewal was sent and got no answer.
        unanswered: bool,
    },
}

/// Proof that the credential's process lock is held; dropping the last clone releases the lock.
///
/// Every write to the store or the stamp asks for it as an argument, so that writing without the lock does not compile.
/// A write that goes on after its caller has given up keeps a clone: nobody may get the lock before it is over, or the
/// late write could replace a newer one.
#[derive(Clone)]
pub struct Held {
    _lock: Arc<dyn Any + Send + Sync>,
}

impl Held {
    /// Wraps whatever releases the lock when it is dropped.
    pub fn new(lock: impl Any + Send + Sync) -> Self {
        Self { _lock: Arc::new(lock) }
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Held")
    }
}

/// Who holds the lock, as far as known.
#[derive(Clone, Debug)]
pub struct LockHolder {
    /// The lock file.
    pub path: PathBuf,
    /// The holder's process id, where it wrote one.
    pub pid: Option<u32>,
}
