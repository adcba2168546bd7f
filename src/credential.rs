//! One credential: its store, its lock, and what login and logout do with them.
//!
//! Login and logout save under the same lock as refreshes do, so no refresh can bring back a session that was logged
//! out, or overwrite one that has just been made. Their network part lies outside the lock.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use tracing::debug;
use url::Url;

use crate::error::{StoreError, TokenError};
use crate::expiry::Lifetime;
use crate::gate::{Clock, Ended, Ending, Held, LOCK_BOUND, Ports, Rendezvous as _, Renewal, Stamp, TokenStore};
use crate::lock::ProcessLock;
use crate::store::StoreKind;
use crate::token::{
    AttemptKey, Generation, IssuedTokens, OauthClient, RandomnessMissing, Secret, SessionId, TokenSet, random_text,
};

/// Where one login is kept, and where processes that use it meet.
#[derive(Clone)]
pub struct Credential {
    store: Arc<dyn TokenStore>,
    rendezvous: ProcessLock,
}

/// What a login brings, apart from what the server issued.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The API that the tokens are for.
    pub server: Url,
    /// Where they are renewed.
    pub refresh_endpoint: Url,
    /// Where the session is revoked.
    pub revocation_endpoint: Option<Url>,
    /// Whose tokens these are, where an OAuth 2.0 server issued them.
    pub oauth: Option<OauthClient>,
    /// Who logged in.
    pub account: Option<String>,
    /// What the server issued.
    pub issued: IssuedTokens,
    /// When that arrived.
    pub received_at: Timestamp,
}

impl Credential {
    /// The credential `id` of the `configuration` directory, kept in a store of `kind`. Nothing is read or written yet.
    pub fn open(configuration: &Path, id: &str, kind: StoreKind) -> Self {
        Self { store: kind.open(configuration, id), rendezvous: ProcessLock::new(configuration, id) }
    }

    /// Draws the id of a new credential. It is random, so that nothing in a keyring or directory tells accounts apart.
    pub fn random_id() -> Result<String, RandomnessMissing> {
        random_text::<16>()
    }

    /// Returns the stored tokens, if any.
    pub async fn load(&self) -> Result<Option<TokenSet>, StoreError> {
        self.store.load().await
    }

    /// Returns what processes were last told of the session, also where nothing is stored any more.
    pub async fn stamp(&self) -> Option<Stamp> {
        self.rendezvous.stamp().await
    }

    /// Returns a gate's ports for this credential.
    pub fn ports(&self, renewal: Arc<dyn Renewal>, clock: Arc<dyn Clock>) -> Ports {
        Ports { store: Arc::clone(&self.store), rendezvous: Arc::new(self.rendezvous.clone()), renewal, clock }
    }

    /// Proves that a store of `kind` keeps what it is given: writes, reads and deletes an entry of its own.
    pub async fn prove_store(configuration: &Path, kind: StoreKind) -> Result<(), TokenError> {
        // Nobody else can know this id, so there is nobody to lock out.
        let id = Self::random_id().map_err(no_randomness)?;
        Ok(kind.prove(configuration, &id, throw_away_entry().map_err(no_randomness)?).await?)
    }

    /// Takes the credential's lock, so that nobody refreshes, logs in or logs out meanwhile.
    pub async fn lock(&self) -> Result<LockedCredential<'_>, TokenError> {
        let held = self.rendezvous.lock_within(LOCK_BOUND).await?;
        Ok(LockedCredential { credential: self, held })
    }
}

/// A session that was just saved.
#[derive(Debug)]
pub struct Saved {
    /// The session.
    pub tokens: TokenSet,
    /// The one that it replaced.
    pub before: Option<TokenSet>,
}

/// A credential whose lock is held; letting go of this releases it.
pub struct LockedCredential<'a> {
    credential: &'a Credential,
    held: Held,
}

impl LockedCredential<'_> {
    /// Saves a new session over whatever stood before. Processes are told of it by [`announce`](Self::announce), once the
    /// session can be found.
    pub async fn save(&self, new: NewSession) -> Result<Saved, TokenError> {
        let Credential { store, rendezvous } = self.credential;
        let session = SessionId::random().map_err(no_randomness)?;
        let attempt_key = AttemptKey::random().map_err(no_randomness)?;
        // An entry that cannot be understood is what a new login is there to replace; but one of a newer version is not
        // ours to overwrite.
        let before = match store.load().await {
            Ok(before) => before,
            Err(StoreError::Damaged { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let stamped = rendezvous.stamp().await.map(|stamp| stamp.generation);
        let last = before.as_ref().map(|tokens| tokens.generation).max(stamped);
        let tokens = TokenSet {
            session,
            generation: last.map_or(Generation::FIRST, Generation::next),
            server: new.server,
            refresh_endpoint: new.refresh_endpoint,
            revocation_endpoint: new.revocation_endpoint,
            oauth: new.oauth,
            account: new.account,
            access_token: new.issued.access_token,
            refresh_token: new.issued.refresh_token,
            attempt_key,
            received_at: new.received_at,
            refresh_received_at: new.received_at,
            access_lifetime: new.issued.access_lifetime,
            refresh_lifetime: new.issued.refresh_lifetime,
        };
        store.save(&self.held, &tokens).await?;
        Ok(Saved { tokens, before })
    }

    /// Tells processes that use this credential that `saved` is its session now. Not before a profile names its store: a
    /// stamp of a session that nobody finds would make the one that stands look out of date.
    pub async fn announce(&self, saved: &Saved) {
        if let Err(error) = self.credential.rendezvous.set_stamp(&self.held, &Stamp::of(&saved.tokens)).await {
            // What it tells is in the store too.
            debug!(%error, "could not write the stamp of the new session");
        }
    }

    /// Takes a session back that was saved a moment ago, into a store that no profile names.
    pub async fn take_back(&self) -> Result<(), StoreError> {
        self.credential.store.clear(&self.held).await
    }

    /// Removes what `left`, another store of the same credential, keeps, and returns that where it can be understood. What
    /// a newer version wrote is left alone.
    pub async fn move_away_from(&self, left: &Credential) -> Result<Option<TokenSet>, StoreError> {
        let tokens = match left.store.load().await {
            Ok(tokens) => tokens,
            Err(StoreError::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        left.store.clear(&self.held).await?;
        Ok(tokens)
    }

    /// Forgets the session that `known` belongs to, and leaves word for processes that still use it. A session that
    /// somebody made since is left alone.
    pub async fn forget(&self, known: &TokenSet, now: Timestamp) -> Result<(), TokenError> {
        let Some(stored) = self.credential.store.load().await?.filter(|stored| stored.session == known.session) else {
            return Ok(());
        };
        match self.credential.rendezvous.stamp().await {
            // It knows of a later save of this session, which the store does not show: the count must not fall back.
            Some(stamp) if stamp.session == stored.session => {
                let generation = stamp.generation.max(stored.generation);
                self.clear(Stamp { generation, ..Stamp::of(&stored) }, now).await
            }
            // A later login, which the store does not show yet, must not be cleared for the one before.
            Some(stamp) if let Some(behind) = stamp.leaves_behind(&stored) => Err(behind.into()),
            _ => self.clear(Stamp::of(&stored), now).await,
        }
    }

    /// Forgets whatever is stored, also what cannot be understood, but not what a newer version wrote.
    pub async fn discard(&self, now: Timestamp) -> Result<(), TokenError> {
        match self.credential.store.load().await {
            Ok(None) => return Ok(()),
            Ok(Some(_)) | Err(StoreError::Damaged { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        match self.credential.rendezvous.stamp().await {
            Some(stamp) => self.clear(stamp, now).await,
            None => Ok(self.credential.store.clear(&self.held).await?),
        }
    }

    /// The word first: a crash between the two leaves an entry that nobody tries to renew.
    async fn clear(&self, stamp: Stamp, now: Timestamp) -> Result<(), TokenError> {
        let ended = Some(Ended { at: now, how: Ending::LoggedOut, interrupted_at: None });
        self.credential.rendezvous.set_stamp(&self.held, &Stamp { ended, ..stamp }).await?;
        Ok(self.credential.store.clear(&self.held).await?)
    }
}

fn no_randomness(missing: RandomnessMissing) -> TokenError {
    TokenError::Misconfigured { cause: Arc::new(missing) }
}

/// An entry that no server knows, to try a store with.
fn throw_away_entry() -> Result<TokenSet, RandomnessMissing> {
    // A fixed address that parses, and cannot be connected to: port 0.
    #[expect(clippy::expect_used, reason = "the text is a constant and a URL")]
    let nowhere = Url::parse("http://127.0.0.1:0/").expect("a constant URL");
    Ok(TokenSet {
        session: SessionId::random()?,
        generation: Generation::FIRST,
        server: nowhere.clone(),
        refresh_endpoint: nowhere,
        revocation_endpoint: None,
        oauth: None,
        account: Some("store check".into()),
        access_token: Secret::new("none"),
        refresh_token: None,
        attempt_key: AttemptKey::random()?,
        received_at: Timestamp::UNIX_EPOCH,
        refresh_received_at: Timestamp::UNIX_EPOCH,
        access_lifetime: Lifetime::UNKNOWN,
        refresh_lifetime: Lifetime::UNKNOWN,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sample_tokens;

    fn login() -> NewSession {
        let sample = sample_tokens();
        NewSession {
            server: sample.server,
            refresh_endpoint: sample.refresh_endpoint,
            revocation_endpoint: None,
            oauth: None,
            account: sample.account,
            issued: IssuedTokens {
                access_token: sample.access_token,
                refresh_token: sample.refresh_token,
                access_lifetime: sample.access_lifetime,
                refresh_lifetime: sample.refresh_lifetime,
            },
            received_at: sample.received_at,
        }
    }

    async fn log_in(credential: &Credential) -> TokenSet {
        let locked = credential.lock().await.unwrap();
        locked.announce(&locked.save(login()).await.unwrap()).await;
        credential.load().await.unwrap().unwrap()
    }

    /// Makes the store show `tokens`, as one does that lags or was restored.
    async fn show(credential: &Credential, tokens: &TokenSet) {
        credential.store.save(&Held::new(()), tokens).await.unwrap();
    }

    #[tokio::test]
    async fn generations_go_on_over_logins_and_logouts_also_when_the_store_lags() {
        let directory = tempfile::tempdir().unwrap();
        let credential = Credential::open(directory.path(), "one", StoreKind::File);
        let first = log_in(&credential).await;
        let second = TokenSet { generation: first.generation.next(), ..first.clone() };
        let locked = credential.lock().await.unwrap();
        credential.rendezvous.set_stamp(&locked.held, &Stamp::of(&second)).await.unwrap();
        locked.forget(&first, Timestamp::UNIX_EPOCH).await.unwrap();
        drop(locked);
        assert!(credential.load().await.unwrap().is_none());
        assert!(log_in(&credential).await.generation > second.generation);
    }

    #[tokio::test]
    async fn a_logout_clears_no_later_login_that_the_store_does_not_show_yet() {
        let directory = tempfile::tempdir().unwrap();
        let credential = Credential::open(directory.path(), "one", StoreKind::File);
        let first = log_in(&credential).await;
        let later = log_in(&credential).await;
        show(&credential, &first).await;
        let refused = credential.lock().await.unwrap().forget(&first, Timestamp::UNIX_EPOCH).await;
        assert!(matches!(refused, Err(TokenError::Store(StoreError::Behind { .. }))), "{refused:?}");
        assert_eq!(credential.stamp().await.unwrap().session, later.session, "no tombstone for the later one");
        assert!(credential.load().await.unwrap().is_some());
    }

    #[tokio::test]
    async fn forgetting_a_session_that_was_replaced_leaves_the_new_one_alone() {
        let directory = tempfile::tempdir().unwrap();
        let credential = Credential::open(directory.path(), "one", StoreKind::File);
        let first = log_in(&credential).await;
        let later = log_in(&credential).await;
        credential.lock().await.unwrap().forget(&first, Timestamp::UNIX_EPOCH).await.unwrap();
        assert!(credential.load().await.unwrap().unwrap().is_same_save(&later));
    }

    #[tokio::test]
    async fn a_move_leaves_alone_what_a_newer_version_wrote() {
        let directory = tempfile::tempdir().unwrap();
        let [credential, left] = ["one", "two"].map(|id| Credential::open(directory.path(), id, StoreKind::File));
        log_in(&left).await;
        let entry = directory.path().join("credentials").join("two.json");
        let locked = credential.lock().await.unwrap();
        for (text, is_left) in [("{\"version\":99}", true), ("damaged", false)] {
            std::fs::write(&entry, text).unwrap();
            assert_eq!(locked.move_away_from(&left).await.is_err(), is_left, "{text}");
            assert_eq!(entry.exists(), is_left, "{text}");
        }
    }
}
