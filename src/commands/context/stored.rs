//! The session that is stored for a profile, or why there is none.

use std::time::Duration;

use authcli::Credential;
use authcli::error::{StoreError, TokenError};
use authcli::gate::Ending;
use authcli::http::ServerUrl;
use authcli::profile::{Profile, ProfileError};
use authcli::store::StoreKind;
use authcli::token::TokenSet;
use tokio::time::{Instant, sleep};

use super::Context;
use crate::outcome::NotLoggedIn;

/// How long somebody at a terminal has to unlock the keyring.
const PATIENCE: Duration = Duration::from_mins(1);
const PATIENCE_POLL: Duration = Duration::from_millis(200);

/// The tokens that are stored for a profile, and where.
pub(crate) struct Stored {
    pub(crate) credential: Credential,
    pub(crate) tokens: TokenSet,
    pub(crate) kind: StoreKind,
}

impl Context {
    /// Returns the stored session of the profile in use, if its server is the one asked for, and the one that the
    /// profile names by now.
    pub(crate) async fn stored(&self) -> anyhow::Result<Stored> {
        let stored = self.stored_for_asked_server().await?;
        match self.profile_server()? {
            Some(own) => stored.bound_to(&own),
            None => Ok(stored),
        }
    }

    /// Returns the stored session of the profile in use, if its server is the one asked for; what the profile names by
    /// now is no matter to somebody who wants to be rid of it.
    pub(crate) async fn stored_for_asked_server(&self) -> anyhow::Result<Stored> {
        let stored = self.stored_anywhere().await?;
        match &self.server {
            Some(asked) => stored.bound_to(asked),
            None => Ok(stored),
        }
    }

    async fn stored_anywhere(&self) -> anyhow::Result<Stored> {
        let Some(profile) = self.profile() else {
            if self.profile_was_named {
                return Err(ProfileError::Unknown(self.profile_name.clone()).into());
            }
            return Err(self.not_logged_in());
        };
        self.check_pinned_store(profile)?;
        let Some((credential, kind)) = self.credential_of(profile) else {
            return Err(self.not_logged_in());
        };
        match self.with_patience(async || Ok(credential.load().await?)).await? {
            Some(tokens) if !has_ended(&credential, &tokens).await => Ok(Stored { credential, tokens, kind }),
            _ => Err(self.why_nothing_is_stored(&self.profile_name, &credential, kind).await),
        }
    }

    /// Returns the credential that `profile` names.
    pub(crate) fn credential_of(&self, profile: &Profile) -> Option<(Credential, StoreKind)> {
        let kind = profile.store?;
        let id = profile.credential.as_deref()?;
        Some((Credential::open(self.configuration.directory(), id, kind), kind))
    }

    /// Tries again while the keyring does not answer, for as long as somebody at a terminal may need to unlock it. Elsewhere
    /// nobody can, and a script must not wait.
    pub(crate) async fn with_patience<T>(&self, attempt: impl AsyncFn() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let first = attempt().await;
        if !self.printer.is_watched() || !first.as_ref().is_err_and(is_keyring_silent) {
            return first;
        }
        self.printer.note("Waiting for the keyring; unlock it, or press Ctrl-C");
        let start = Instant::now();
        loop {
            // Answered at once for as long as the first call hangs.
            let next = attempt().await;
            if start.elapsed() > PATIENCE || !next.as_ref().is_err_and(is_keyring_silent) {
                return next;
            }
            sleep(PATIENCE_POLL).await;
        }
    }

    /// Returns the error of a profile whose store shows no session that stands.
    pub(crate) async fn why_nothing_is_stored(
        &self,
        name: &str,
        credential: &Credential,
        kind: StoreKind,
    ) -> anyhow::Error {
        let not_logged_in = || NotLoggedIn::Nowhere { profile: name.to_owned() }.into();
        let Some(stamp) = credential.stamp().await else {
            return not_logged_in();
        };
        let Some(ended) = stamp.ended else {
            // A file that is gone was removed by somebody who can; a keyring without the entry may be locked.
            return if kind == StoreKind::Keyring { StoreError::EntryMissing.into() } else { not_logged_in() };
        };
        let interrupted = ended.interrupted();
        match ended.how {
            Ending::Refused(reason) => NotLoggedIn::Ended { profile: name.to_owned(), reason, interrupted }.into(),
            Ending::LoggedOut => not_logged_in(),
        }
    }

    fn not_logged_in(&self) -> anyhow::Error {
        NotLoggedIn::Nowhere { profile: self.profile_name.clone() }.into()
    }
}

impl Stored {
    /// Returns itself, if its tokens are for the origin of `server`.
    fn bound_to(self, server: &ServerUrl) -> anyhow::Result<Self> {
        let bound = self.server()?;
        if server.origin() == bound.origin() {
            return Ok(self);
        }
        let (wanted, bound) = (server.origin_text(), bound.origin_text());
        Err(NotLoggedIn::OtherServer { wanted, bound }.into())
    }

    /// Returns the server that the tokens are for.
    pub(crate) fn server(&self) -> anyhow::Result<ServerUrl> {
        Ok(ServerUrl::from_stored(&self.tokens.server)?)
    }
}

/// Returns whether the session is over although its entry is still there: whoever was to clear it did not get that far.
async fn has_ended(credential: &Credential, tokens: &TokenSet) -> bool {
    credential.stamp().await.and_then(|stamp| stamp.about(tokens)).is_some_and(|stamp| stamp.ended.is_some())
}

fn is_keyring_silent(error: &anyhow::Error) -> bool {
    let store = error.downcast_ref::<StoreError>().or_else(|| match error.downcast_ref() {
        Some(TokenError::Store(store)) => Some(store),
        _ => None,
    });
    matches!(store, Some(StoreError::KeyringSilent(_)))
}
