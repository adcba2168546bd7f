//! The throttle around a login: counts an attempt before its password is hashed, and takes it back when it was right.

use std::net::IpAddr;
use std::time::Duration;

use tracing::{debug, warn};

use super::{Auth, InternalError, LoginError};
use crate::domain::{Bucket, ClientNetwork, Counted, KNOWN_ADDRESS_LIFE, Subjects, UserId, wait};

/// An attempt, before and after it was counted.
#[derive(Debug)]
pub(super) struct Attempt {
    network: ClientNetwork,
    subjects: Subjects,
    /// The buckets that it was counted in, as they were afterwards.
    counted: Vec<Bucket>,
}

impl Auth {
    /// Looks whether an attempt would have room, and counts nothing: a flood that is throttled writes nothing, and takes
    /// no turn to hash from anybody.
    pub(super) async fn attempt(&self, name: &str, from: IpAddr) -> Result<Attempt, LoginError> {
        let network = ClientNetwork::of(from);
        let attempt = Attempt { network, subjects: self.throttle.subjects(name, from), counted: Vec::new() };
        let buckets = self.attempts.buckets(&attempt.subjects).await.map_err(InternalError::from)?;
        match wait(&buckets) {
            Some(wait) => Err(attempt.throttled(wait)),
            None => Ok(attempt),
        }
    }

    /// Counts the attempt as failed, unless others have taken the room meanwhile.
    pub(super) async fn reserve(&self, attempt: &mut Attempt) -> Result<(), LoginError> {
        if let Some(counted) = self.attempts.reserve_attempt(&attempt.subjects).await.map_err(InternalError::from)? {
            attempt.counted = counted;
            return Ok(());
        }
        let buckets = self.attempts.buckets(&attempt.subjects).await.map_err(InternalError::from)?;
        // None: there is room again by now, and so there will be in a moment.
        Err(attempt.throttled(wait(&buckets).unwrap_or_default()))
    }

    /// Takes the attempt back: the password was right. From here this account is known from now on.
    ///
    /// A failure costs the client an attempt and not the login.
    pub(super) async fn refund(&self, attempt: &Attempt) {
        let refund = async |counted: Option<&Bucket>| match counted {
            Some(Bucket { counted, .. }) => match attempt.subjects.of(*counted) {
                Some(subject) => self.attempts.refund_attempt(subject, *counted).await,
                None => Ok(()),
            },
            None => Ok(()),
        };
        // All at once: where writes wait for a disk, they wait for it together.
        let results = tokio::join!(
            refund(attempt.counted.first()),
            refund(attempt.counted.get(1)),
            self.attempts.remember_address(&attempt.subjects.known_address, KNOWN_ADDRESS_LIFE),
        );
        for error in [results.0, results.1, results.2].into_iter().filter_map(Result::err) {
            warn!(%error, "a login that was right stays counted as a failure, or its address unknown");
        }
    }
}

impl Attempt {
    /// Raises the alarm when this failure was the last that there was room for: once, and then once for each that the
    /// pace lets through, however many are refused in between.
    ///
    /// The name is not logged: people type passwords there.
    pub(super) fn failed(&self, user: Option<UserId>) {
        let Self { network, subjects, .. } = self;
        for full in self.counted.iter().filter(|bucket| bucket.reserve().is_err()) {
            match (full.counted, user) {
                (Counted::Account, Some(user_id)) => {
                    warn!(%user_id, %network, "too many failed logins to an account: more are refused for a while");
                }
                (Counted::Account, None) => {
                    let name = subjects.account;
                    warn!(%name, %network, "too many failed logins to an unknown name: more are refused for a while");
                }
                (Counted::Network, _) => {
                    warn!(%network, "too many failed logins from a network: more are refused for a while");
                }
                (Counted::KnownAddress, user) => {
                    let user_id = user.map(|user| user.0);
                    warn!(user_id, %network, "too many failed logins from a known address: more are refused for a while");
                }
            }
        }
    }

    fn throttled(&self, wait: Duration) -> LoginError {
        debug!(name = %self.subjects.account, network = %self.network, ?wait, "a login is refused unheard");
        LoginError::Throttled { wait }
    }
}
