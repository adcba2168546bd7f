//! Taking up a session of a JSON API by its refresh token.

use authcli::clock::SystemClock;
use authcli::credential::NewSession;
use authcli::gate::Clock as _;
use authcli::renewal::{LoggedIn, Provider};

use super::input;
use super::saving::{self, Who};
use crate::commands::context::Context;
use crate::outcome::{Exit, NoServer};

/// Logs in. Whose session it is nobody says.
pub(super) async fn run(context: &Context) -> anyhow::Result<Exit> {
    let server = context.login_server()?;
    let kind = context.login_store()?;
    saving::check_store(context, kind).await?;
    let (api, host) = context.json_api(&server)?;
    let (refresh_endpoint, revocation_endpoint) = (api.refresh_endpoint(&host)?, api.revocation_endpoint(&host)?);
    api.reach(&host).await.map_err(|fault| NoServer { server: host.to_string(), fault })?;

    let refresh_token = input::secret_line("refresh token").await?;
    let LoggedIn { issued, missed } = api.take_up(&host, &refresh_token).await?;
    let new = NewSession {
        server: server.url().clone(),
        refresh_endpoint,
        revocation_endpoint,
        oauth: None,
        account: None,
        issued,
        received_at: SystemClock.now(),
    };
    let taken_up = Some(&refresh_token);
    let who = Who { server: &server, username: None, kind, settings: &[], missed: &missed, taken_up };
    saving::keep(context, who, new, &Provider::JsonApi(api)).await?;
    Ok(Exit::Done)
}
