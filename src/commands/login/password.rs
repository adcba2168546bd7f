//! Logging in with a password.

use std::io::IsTerminal as _;

use authcli::clock::SystemClock;
use authcli::credential::NewSession;
use authcli::gate::Clock as _;
use authcli::renewal::{LoggedIn, Provider};

use super::input;
use super::saving::{self, Who};
use crate::commands::context::Context;
use crate::outcome::{Exit, NoServer, Usage};
use crate::ui::prompt;

/// Logs in.
pub(super) async fn run(context: &Context, username: Option<String>, password_stdin: bool) -> anyhow::Result<Exit> {
    let server = context.login_server()?;
    let kind = context.login_store()?;
    if !std::io::stdin().is_terminal() && (username.is_none() || !password_stdin) {
        return Err(missing_input(username.is_none()).into());
    }
    saving::check_store(context, kind).await?;
    let (api, host) = context.json_api(&server)?;
    let (refresh_endpoint, revocation_endpoint) = (api.refresh_endpoint(&host)?, api.revocation_endpoint(&host)?);
    api.reach(&host).await.map_err(|fault| NoServer { server: host.to_string(), fault })?;

    let username = match username {
        Some(username) => username,
        None => prompt::line(&format!("Username for {host}: ")).await?,
    };
    let password = if password_stdin {
        input::secret_line("password").await?
    } else {
        prompt::password(&format!("Password for {username} at {host}: ")).await?
    };
    let LoggedIn { issued, missed } = api.login(&host, &username, &password).await?;
    let new = NewSession {
        server: server.url().clone(),
        refresh_endpoint,
        revocation_endpoint,
        oauth: None,
        account: Some(username.clone()),
        issued,
        received_at: SystemClock.now(),
    };
    let who = Who { server: &server, username: Some(&username), kind, settings: &[], missed: &missed, taken_up: None };
    saving::keep(context, who, new, &Provider::JsonApi(api)).await?;
    Ok(Exit::Done)
}

fn missing_input(no_username: bool) -> Usage {
    let what = if no_username { "the user name and the password" } else { "the password" };
    Usage::with_hint(
        format!("there is no terminal to ask for {what}"),
        "pass `-u NAME --password-stdin` and the password on standard input",
    )
}
