//! Keeping a new session, and ending the one before.

use authcli::credential::{Credential, NewSession};
use authcli::error::StoreError;
use authcli::http::ServerUrl;
use authcli::profile::LoginNote;
use authcli::renewal::{Provider, Revocation};
use authcli::store::StoreKind;
use authcli::token::{Secret, TokenSet};

use crate::commands::context::Context;
use crate::ui::report;

/// Who has logged in where, and where the tokens go.
#[derive(Clone, Copy)]
pub(super) struct Who<'a> {
    pub(super) server: &'a ServerUrl,
    /// The account, where its name is known.
    pub(super) username: Option<&'a str>,
    pub(super) kind: StoreKind,
    /// What else the profile is to remember.
    pub(super) settings: &'a [(&'static str, Option<String>)],
    /// What the answer to the login lacked, though it was looked for.
    pub(super) missed: &'a [String],
    /// The refresh token from elsewhere that this session took up.
    pub(super) taken_up: Option<&'a Secret>,
}

/// Finds out before anything is asked whether the session could be saved: an entry of a newer version, say, is not ours
/// to overwrite.
pub(super) async fn check_store(context: &Context, kind: StoreKind) -> anyhow::Result<()> {
    let directory = context.configuration.directory();
    context.with_patience(async || Ok(Credential::prove_store(directory, kind).await?)).await?;
    let Some(id) = context.profile().and_then(|profile| profile.credential.as_deref()) else {
        return Ok(());
    };
    match Credential::open(directory, id, kind).load().await {
        Ok(_) | Err(StoreError::Damaged { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Saves the session that `provider` issued and says so, then revokes the one that stood before. A session that cannot be
/// saved is revoked: nobody here will ever use it. One that was taken up is not: somebody elsewhere may.
pub(super) async fn keep(context: &Context, who: Who<'_>, new: NewSession, provider: &Provider) -> anyhow::Result<()> {
    let Who { server, username, kind, missed, taken_up, .. } = who;
    let before = match save(context, who, new.clone()).await {
        Ok(before) => before,
        Err(error) if taken_up.is_some() => return Err(error),
        Err(error) => {
            let unsaved = Revocation {
                endpoint: new.revocation_endpoint.as_ref(),
                access_token: &new.issued.access_token,
                refresh_token: new.issued.refresh_token.as_ref(),
                oauth: new.oauth.as_ref(),
            };
            if let Err(error) = provider.revoke(unsaved).await {
                tracing::debug!(%error, "the session that could not be saved stays at the server");
            }
            return Err(error);
        }
    };
    for what in missed {
        context.printer.warn(&format!("the answer to the login has {what}"));
    }
    let account = username.map(|username| format!(" as {username}")).unwrap_or_default();
    context.printer.note(&format!("Logged in to {server}{account}; tokens are in the {kind} store"));
    for before in before.iter().filter(|before| !shares_its_grant(before, &new, taken_up)) {
        // It is already forgotten here, so a failure is only worth a warning.
        if let Err(error) = context.revoke(&context.profile_name, before).await {
            let why = report::in_one_line(&error);
            context.printer.warn(&format!("the session before could not be revoked: {why}"));
        }
    }
    Ok(())
}

/// Returns whether to revoke `before` would be to revoke the `new` session, too: a server ends the grant that a refresh token
/// is of, also by one that was replaced (RFC 7009 section 2.1), and some give a client the same access token again.
fn shares_its_grant(before: &TokenSet, new: &NewSession, taken_up: Option<&Secret>) -> bool {
    let (before, now) = match &before.refresh_token {
        Some(token) => (token, [new.issued.refresh_token.as_ref(), taken_up]),
        None => (&before.access_token, [Some(&new.issued.access_token), None]),
    };
    now.into_iter().flatten().any(|token| token.expose() == before.expose())
}

/// Saves the session and notes it in the profile; returns the sessions that stood before. After an error the session that
/// stood before still stands.
async fn save(context: &Context, who: Who<'_>, new: NewSession) -> anyhow::Result<Vec<TokenSet>> {
    let Who { server, username, kind, settings, .. } = who;
    let configuration = &context.configuration;
    // First: an entry that no profile names could never be found again.
    let id = configuration.claim_credential(&context.profile_name).await?;
    let credential = Credential::open(configuration.directory(), &id, kind);
    let locked = credential.lock().await?;
    let saved = locked.save(new).await?;
    // Only now, so that the profile never names a store without the session; and under the lock, so that of two logins at
    // once the last to save is the one that it names.
    let note = LoginNote { server, username, store: kind, credential: &id, settings };
    let kind_before = match configuration.note_login(&context.profile_name, &note).await {
        Ok(kind_before) => kind_before,
        Err(error) if context.profile().is_some_and(|profile| profile.store == Some(kind)) => {
            let why = report::in_one_line(&error.into());
            context.printer.warn(&format!("the profile still shows the login before: {why}"));
            Some(kind)
        }
        Err(error) => {
            locked.take_back().await?;
            return Err(error.into());
        }
    };
    locked.announce(&saved).await;
    let mut before = Vec::from_iter(saved.before);
    // A login with another store moves the session there.
    if let Some(left_kind) = kind_before.filter(|left| *left != kind) {
        let left = Credential::open(configuration.directory(), &id, left_kind);
        match locked.move_away_from(&left).await {
            Ok(tokens) => before.extend(tokens),
            Err(error) => {
                let why = report::in_one_line(&error.into());
                context.printer.warn(&format!("the old tokens stay in the {left_kind} store: {why}"));
            }
        }
    }
    Ok(before)
}
