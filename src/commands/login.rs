//! `authcli login`.

use std::io::{BufRead as _, IsTerminal as _, Read as _};

use anyhow::Context as _;
use authcli::clock::SystemClock;
use authcli::credential::{Credential, NewSession};
use authcli::error::StoreError;
use authcli::gate::Clock as _;
use authcli::http::ServerUrl;
use authcli::profile::{LoginNote, check_name};
use authcli::renewal::{LoggedIn, Revocation};
use authcli::store::StoreKind;
use authcli::token::{Secret, TokenSet};

use super::context::Context;
use crate::outcome::{Exit, NoServer, Usage};
use crate::ui::{prompt, report};

/// A password beyond this is a file given by mistake.
const LONGEST_PASSWORD: u64 = 64 * 1024;

/// Who logs in where, and where the tokens go.
struct Login<'a> {
    server: &'a ServerUrl,
    username: &'a str,
    kind: StoreKind,
}

/// Logs in. Store and server are checked before anything is asked; the session that stood before stands on until the
/// new one is saved, and is then revoked.
pub(crate) async fn run(context: &Context, username: Option<String>, password_stdin: bool) -> anyhow::Result<Exit> {
    check_name(&context.profile_name)?;
    let server = context.login_server()?;
    let kind = context.login_store()?;
    if !std::io::stdin().is_terminal() && (username.is_none() || !password_stdin) {
        return Err(missing_input(username.is_none()).into());
    }
    check_store(context, kind).await?;
    let (api, host) = context.json_api(&server)?;
    let (refresh_endpoint, revocation_endpoint) = (api.refresh_endpoint(&host)?, api.revocation_endpoint(&host)?);
    api.reach(&host).await.map_err(|fault| NoServer { server: host.to_string(), fault })?;

    let username = match username {
        Some(username) => username,
        None => prompt::line(&format!("Username for {host}: ")).await?,
    };
    let password = if password_stdin {
        // On a thread of its own: a pipe that stays open must not keep a signal from being noticed.
        tokio::task::spawn_blocking(password_from_stdin).await??
    } else {
        prompt::password(&format!("Password for {username} at {host}: ")).await?
    };
    let LoggedIn { issued, missed } = api.login(&host, &username, &password).await?;
    let new = NewSession {
        server: server.url().clone(),
        refresh_endpoint,
        revocation_endpoint,
        account: Some(username.clone()),
        issued,
        received_at: SystemClock.now(),
    };
    let login = Login { server: &server, username: &username, kind };
    let before = match save(context, login, new.clone()).await {
        Ok(before) => before,
        Err(error) => {
            // Nobody here will ever use the session that the server has just made.
            let unsaved = Revocation {
                endpoint: new.revocation_endpoint.as_ref(),
                access_token: &new.issued.access_token,
                refresh_token: new.issued.refresh_token.as_ref(),
            };
            if let Err(error) = api.revoke(unsaved).await {
                tracing::debug!(%error, "the session that could not be saved stays at the server");
            }
            return Err(error);
        }
    };
    for what in missed {
        context.printer.warn(&format!("the answer to the login has {what}"));
    }
    context.printer.note(&format!("Logged in to {server} as {username}; tokens are in the {kind} store"));
    for before in before {
        // It is already forgotten here, so a failure is only worth a warning.
        if let Err(error) = context.revoke(&context.profile_name, &before).await {
            let why = report::in_one_line(&error);
            context.printer.warn(&format!("the session before could not be revoked: {why}"));
        }
    }
    Ok(Exit::Done)
}

/// Finds out before anything is asked whether the session could be saved: an entry of a newer version, say, is not ours
/// to overwrite.
async fn check_store(context: &Context, kind: StoreKind) -> anyhow::Result<()> {
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

/// Saves the session and notes it in the profile; returns the sessions that stood before. After an error the session that
/// stood before still stands.
async fn save(context: &Context, login: Login<'_>, new: NewSession) -> anyhow::Result<Vec<TokenSet>> {
    let Login { server, username, kind } = login;
    let configuration = &context.configuration;
    // First: an entry that no profile names could never be found again.
    let id = configuration.claim_credential(&context.profile_name).await?;
    let credential = Credential::open(configuration.directory(), &id, kind);
    let locked = credential.lock().await?;
    let saved = locked.save(new).await?;
    // Only now, so that the profile never names a store without the session; and under the lock, so that of two logins at
    // once the last to save is the one that it names.
    let note = LoginNote { server, username, store: kind, credential: &id, settings: &[] };
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
