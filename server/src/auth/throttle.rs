//! The throttle around a login: counts an attempt before its password is hashed, and takes it back when it was right.

use std::net::IpAddr;
use std::time::Duration;

use tracing::{debug, warn};

use super::in_flight::Undecided;
use super::{Auth, InternalError, LoginError};
use crate::domain::{Bucket, ClientNetwork, Counted, KNOWN_ADDRESS_LIFE, Subjects, UnixMillis, UserId, wait};
use crate::ports::StoreError;

/// How often the room that a look found may be taken by others before an attempt is sent away.
const ROUNDS: usize = 32;

/// An attempt, before and after it was counted.
#[derive(Debug)]
pub(super) struct Attempt {
    network: ClientNetwork,
    subjects: Subjects,
    /// The buckets that it was counted in, as they were afterwards.
    counted: Vec<Bucket>,
    /// Lets others wait for what comes of it.
    undecided: Option<Undecided>,
}

impl Auth {
    /// Looks whether an attempt would have room, and counts nothing: a flood that is throttled writes nothing, and takes
    /// no turn to hash from anybody.
    pub(super) async fn attempt(&self, name: &str, from: IpAddr) -> Result<Attempt, LoginError> {
        let network = ClientNetwork::of(from);
        let subjects = self.throttle.subjects(name, from);
        let attempt = Attempt { network, subjects, counted: Vec::new(), undecided: None };
        match self.look(&attempt.subjects).await.map_err(InternalError::from)? {
            Some(wait) => Err(attempt.throttled(wait)),
            None => Ok(attempt),
        }
    }

    /// Returns how long an attempt must wait. Where undecided ones fill the buckets, it waits for those itself.
    async fn look(&self, subjects: &Subjects) -> Result<Option<Duration>, StoreError> {
        let watch = self.in_flight.watch(subjects.account);
        loop {
            // Before the look, so that none is missed that is decided right after it.
            let (entered, decided) = (watch.entered(), watch.next());
            let wait = wait(&self.attempts.buckets(subjects).await?);
            match decided {
                Some(decided) if wait.is_some() => decided.await,
                // One that has come meanwhile may be what the look has seen, and be gone again.
                None if wait.is_some() && watch.entered() != entered => {}
                _ => return Ok(wait),
            }
        }
    }

    /// Counts the attempt as failed, unless failures have taken the room meanwhile; returns the database's clock.
    pub(super) async fn reserve(&self, attempt: &mut Attempt) -> Result<UnixMillis, LoginError> {
        for _ in 0..ROUNDS {
            let undecided = self.in_flight.enter(attempt.subjects.account);
            let counted = self.attempts.reserve_attempt(&attempt.subjects).await.map_err(InternalError::from)?;
            if let Some(counted) = counted {
                let now = counted.first().map_or(UnixMillis(0), |bucket| bucket.now);
                (attempt.counted, attempt.undecided) = (counted, Some(undecided));
                return Ok(now);
            }
            drop(undecided);
            if self.look(&attempt.subjects).await.map_err(InternalError::from)?.is_some() {
                break;
            }
        }
        // There was room a moment ago. What has filled it may be undecided on another server, and soon be given back:
        // nobody is sent away for minutes by that. If it is not, the next look tells how long it takes.
        Err(attempt.throttled(Duration::ZERO))
    }

    /// Takes the attempt back: it was right, or nobody can say whether it was. Neither is a failure of the client's.
    ///
    /// Where this fails too, as in an outage of the database, it costs the client an attempt and nothing else.
    pub(super) async fn refund(&self, attempt: &Attempt) {
        let refund = async |counted: Option<&Bucket>| match counted {
            Some(Bucket { counted, .. }) => match attempt.subjects.of(*counted) {
                Some(subject) => self.attempts.refund_attempt(subject, *counted).await,
                None => Ok(()),
            },
            None => Ok(()),
        };
        // At once: where writes wait for a disk, they wait for it together.
        let results = tokio::join!(refund(attempt.counted.first()), refund(attempt.counted.get(1)));
        for error in [results.0, results.1].into_iter().filter_map(Result::err) {
            warn!(%error, "a login that did not fail stays counted as a failure");
        }
    }

    /// Remembers that the password was right: from here this account is known from now on.
    ///
    /// A failure costs nobody the login.
    pub(super) async fn remember(&self, attempt: &Attempt) {
        let remembered = self.attempts.remember_address(&attempt.subjects.known_address, KNOWN_ADDRESS_LIFE).await;
        if let Err(error) = remembered {
            warn!(%error, "the address of a login that was right stays unknown");
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
