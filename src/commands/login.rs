//! `authcli login`.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::sync::Arc;

use anyhow::Context as _;
use authcli::clock::SystemClock;
use authcli::credential::{Credential, NewSession};
use authcli::gate::Clock as _;
use authcli::http::{ServerUrl, client_for};
use authcli::profile::{LoginNote, check_name};
use authcli::renewal::JsonApi;
use authcli::store::StoreKind;
use authcli::token::{Secret, TokenSet};

use super::context::Context;
use crate::outcome::{Exit, NoServer, Usage};
use crate::ui::prompt;

/// A password beyond this is a file given by mistake.
const LONGEST_PASSWORD: u64 = 64 * 1024;

/// Logs in. Store and server are checked before anything is asked; the session that stood before stands on until the
/// new one is saved, and is then revoked.
pub(crate) async fn run(context: &Context, username: Option<String>, password_stdin: bool) -> anyhow::Result<Exit> {
    check_name(&context.profile_name)?;
    let server = context.login_server()?;
    let kind = context.login_store()?;
    if !std::io::stdin().is_terminal() && (username.is_none() || !password_stdin) {
        return Err(missing_input(username.is_none()).into());
    }
    Credential::prove_store(context.configuration.directory(), kind).await?;
    let client = client_for(&server).context("could not set up the HTTP client")?;
    let api = JsonApi::new(client, Arc::new(SystemClock));
    api.reach(&server).await.map_err(|fault| NoServer { server: server.to_string(), fault })?;

    let username = match username {
        Some(username) => username,
        None => prompt::line(&format!("Username for {server}: ")).await?,
    };
    let password = if password_stdin {
        // On a thread of its own: a pipe that stays open must not keep a signal from being noticed.
        tokio::task::spawn_blocking(password_from_stdin).await??
    } else {
        prompt::password(&format!("Password for {username} at {server}: ")).await?
    };
    let issued = api.login(&server, &username, &password).await?;
    let new = NewSession {
        server: server.url().clone(),
        refresh_endpoint: JsonApi::refresh_endpoint(&server)?,
        revocation_endpoint: Some(JsonApi::revocation_endpoint(&server)?),
        account: Some(username.clone()),
        issued,
        received_at: SystemClock.now(),
    };
    let before = save(context, &server, kind, &username, new).await?;
    context.printer.note(&format!("Logged in to {server} as {username}; tokens are in the {kind} store"));
    if let Some(before) = before {
        revoke(context, &before).await;
    }
    Ok(Exit::Done)
}

/// Saves the session and notes it in the profile; returns the session that stood before.
async fn save(
    context: &Context,
    server: &ServerUrl,
    kind: StoreKind,
    username: &str,
    new: NewSession,
) -> anyhow::Result<Option<TokenSet>> {
    let directory = context.configuration.directory();
    let old = context.profile();
    // The id outlives logins, so that all processes of this profile meet at one lock.
    let id = match old.and_then(|profile| profile.credential.clone()) {
        Some(id) => id,
        None => Credential::random_id()?,
    };
    let credential = Credential::open(directory, &id, kind);
    let note = LoginNote { server, username, store: kind, credential: &id };
    let note = context.configuration.note_login(&context.profile_name, &note);
    // A new profile first: an entry that no profile names could never be found again. One that is there last: until the
    // new session is saved, the profile must go on naming the one that stands.
    let before = if old.is_some_and(|profile| profile.credential.is_some()) {
        let before = credential.replace(new).await?;
        note.await?;
        before
    } else {
        note.await?;
        credential.replace(new).await?
    };
    // A login with another store moves the session there.
    match old.and_then(|profile| profile.store).filter(|old_kind| *old_kind != kind) {
        Some(old_kind) => {
            let left = Credential::open(directory, &id, old_kind);
            let tokens = left.load().await.ok().flatten();
            if let Err(error) = left.discard().await {
                context.printer.warn(&format!("the old tokens stay in the {old_kind} store: {error}"));
            }
            Ok(before.or(tokens))
        }
        None => Ok(before),
    }
}

/// Revokes the session that stood before, at the server it was for. It is already forgotten here, so a failure is only
/// worth a warning.
async fn revoke(context: &Context, before: &TokenSet) {
    let revoked = async {
        let server = ServerUrl::from_stored(&before.server)?;
        let api = JsonApi::new(client_for(&server)?, Arc::new(SystemClock));
        anyhow::Ok(api.revoke(before).await?)
    };
    if let Err(error) = revoked.await {
        context.printer.warn(&format!("the session before could not be revoked: {error}"));
    }
}

fn missing_input(no_username: bool) -> Usage {
    let what = if no_username { "the user name and the password" } else { "the password" };
    Usage::with_hint(
        format!("there is no terminal to ask for {what}"),
        "pass `-u NAME --password-stdin` and the password on standard input",
    )
}

/// Reads the first line of standard input. A newline at its end is not part of the password.
fn password_from_stdin() -> anyhow::Result<Secret> {
    let mut line = secrecy::zeroize::Zeroizing::new(String::new());
    let mut input = std::io::stdin().lock().take(LONGEST_PASSWORD);
    input.read_line(&mut line).context("could not read the password from standard input")?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err(Usage::new("standard input holds no password").into());
    }
    Ok(Secret::new(password))
}
