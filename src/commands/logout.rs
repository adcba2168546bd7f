//! `authcli logout`.

use authcli::Credential;
use authcli::clock::SystemClock;
use authcli::error::StoreError;
use authcli::gate::Clock as _;
use authcli::http::ServerUrl;
use authcli::profile::{Profile, ProfileError};
use authcli::token::TokenSet;

use super::context::{Context, Stored};
use crate::outcome::{Exit, NotLoggedIn};
use crate::ui::report;

const NOTHING_TO_DO: &str = "Not logged in: nothing to do";

/// Revokes the session at its server, then forgets it. It is forgotten also when the server is away.
pub(crate) async fn run(context: &Context, all: bool) -> anyhow::Result<Exit> {
    if all {
        return everywhere(context).await;
    }
    let error = match context.stored_for_asked_server().await {
        Ok(Stored { credential, tokens, .. }) => {
            end(context, &context.profile_name, &credential, &tokens).await?;
            return Ok(Exit::Done);
        }
        Err(error) => error,
    };
    let credential = context.profile().and_then(|profile| context.credential_of(profile));
    if let Some(NotLoggedIn::Nowhere { .. } | NotLoggedIn::Ended { .. }) = error.downcast_ref() {
        if let Some((credential, _)) = credential
            && credential.load().await?.is_some()
        {
            // Of a session that is over, and whose end was cut short.
            credential.lock().await?.discard(SystemClock.now()).await?;
        }
        context.printer.note(NOTHING_TO_DO);
        return Ok(Exit::Done);
    }
    match (error.downcast_ref(), credential) {
        (Some(StoreError::Damaged { .. }), Some((credential, _))) => discard(context, &credential, error).await,
        _ => Err(error),
    }
}

/// Every profile gets its turn; the first error is told at the end.
async fn everywhere(context: &Context) -> anyhow::Result<Exit> {
    let mut first_error = None;
    let mut nothing_to_do = true;
    for (name, profile) in context.configuration.profiles() {
        match of(context, name, profile).await {
            Err(error) if error.is::<NotLoggedIn>() => {}
            Ok(()) => nothing_to_do = false,
            Err(error) => {
                nothing_to_do = false;
                first_error.get_or_insert_with(|| error.context(format!("profile `{name}`")));
            }
        }
    }
    if nothing_to_do {
        context.printer.note(NOTHING_TO_DO);
    }
    first_error.map_or(Ok(Exit::Done), Err)
}

/// Ends the session of profile `name`; [`NotLoggedIn`] where there is none.
pub(crate) async fn of(context: &Context, name: &str, profile: &Profile) -> anyhow::Result<()> {
    let Some((credential, kind)) = context.credential_of(profile) else {
        return Err(NotLoggedIn::Nowhere { profile: name.to_owned() }.into());
    };
    match credential.load().await {
        Ok(Some(tokens)) => end(context, name, &credential, &tokens).await,
        // Not logged in, or a keyring that does not show what was saved.
        Ok(None) => Err(context.why_nothing_is_stored(name, &credential, kind).await),
        Err(error @ StoreError::Damaged { .. }) => discard(context, &credential, error.into()).await.map(drop),
        Err(error) => Err(error.into()),
    }
}

async fn end(context: &Context, name: &str, credential: &Credential, tokens: &TokenSet) -> anyhow::Result<()> {
    let server = ServerUrl::from_stored(&tokens.server)
        .map_err(|cause| ProfileError::Address { profile: name.to_owned(), cause })?;
    let revoked = context.revoke(name, tokens).await;
    credential.lock().await?.forget(tokens, SystemClock.now()).await?;
    match revoked {
        Ok(true) => {}
        Ok(false) => {
            context.printer.warn(&format!("{server} cannot revoke sessions; the tokens are only forgotten here"));
        }
        Err(error) => {
            let why = report::in_one_line(&error);
            context.printer.warn(&format!("the session was not revoked at {server}: {why}"));
        }
    }
    context.printer.note(&format!("Logged out of {server}"));
    Ok(())
}

/// Forgets an entry that cannot be read, so that its session cannot be revoked.
async fn discard(context: &Context, credential: &Credential, error: anyhow::Error) -> anyhow::Result<Exit> {
    credential.lock().await?.discard(SystemClock.now()).await?;
    let why = report::in_one_line(&error);
    context.printer.warn(&format!("the session was not revoked at its server: {why}"));
    context.printer.note("Logged out: the damaged entry is gone");
    Ok(Exit::Done)
}
