//! `authcli logout`.

use std::sync::Arc;

use authcli::Credential;
use authcli::clock::SystemClock;
use authcli::gate::Clock as _;
use authcli::http::{ServerUrl, client_for};
use authcli::profile::ProfileError;
use authcli::renewal::JsonApi;
use authcli::store::StoreKind;
use authcli::token::TokenSet;

use super::context::{Context, Stored};
use crate::outcome::Exit;
use crate::outcome::NotLoggedIn;
use crate::ui::report;

/// Revokes the session at its server, then forgets it. It is forgotten also when the server is away.
pub(crate) async fn run(context: &Context, all: bool) -> anyhow::Result<Exit> {
    if all {
        return everywhere(context).await;
    }
    match context.stored().await {
        Ok(Stored { credential, tokens, .. }) => end(context, &context.profile_name, &credential, &tokens).await?,
        Err(error) => match error.downcast_ref() {
            Some(NotLoggedIn::Nowhere { .. } | NotLoggedIn::Ended { .. }) => {
                context.printer.note("Not logged in: nothing to do");
            }
            _ => return Err(error),
        },
    }
    Ok(Exit::Done)
}

/// Every profile gets its turn; the first error is told at the end.
async fn everywhere(context: &Context) -> anyhow::Result<Exit> {
    let mut first_error = None;
    for (name, profile) in context.configuration.profiles() {
        let Some((credential, _)): Option<(Credential, StoreKind)> = context.credential_of(profile) else {
            continue;
        };
        let ended = async {
            match credential.load().await? {
                Some(tokens) => end(context, name, &credential, &tokens).await,
                None => Ok(()),
            }
        };
        if let Err(error) = ended.await {
            first_error.get_or_insert_with(|| error.context(format!("profile `{name}`")));
        }
    }
    first_error.map_or(Ok(Exit::Done), Err)
}

async fn end(context: &Context, name: &str, credential: &Credential, tokens: &TokenSet) -> anyhow::Result<()> {
    let server = ServerUrl::from_stored(&tokens.server)
        .map_err(|cause| ProfileError::Address { profile: name.to_owned(), cause })?;
    let revoked = async {
        let api = JsonApi::new(client_for(&server)?, Arc::new(SystemClock));
        anyhow::Ok(api.revoke(tokens).await?)
    };
    let revoked = revoked.await;
    credential.forget(tokens, SystemClock.now()).await?;
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
