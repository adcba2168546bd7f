//! `authcli token`.

use std::time::Duration;

use authcli::expiry;
use authcli::gate::{Clock as _, Work};

use super::context::Context;
use crate::outcome::Exit;

/// Prints a live access token. At most one refresh is sent for it.
pub(crate) async fn run(context: &mut Context, header: bool, min_valid: Option<Duration>) -> anyhow::Result<Exit> {
    let session = context.open_session(Work::Short).await?;
    let tokens = match min_valid {
        Some(least) => session.gate().valid_for(least).await?,
        None => session.gate().current().await?,
    };
    if let Some(least) = min_valid {
        let now = authcli::clock::SystemClock.now();
        let left = expiry::remaining(tokens.received_at, tokens.access_lifetime, now);
        if left.is_some_and(|left| left < least) {
            context.printer.warn("the server issues tokens that are shorter-lived than asked for");
        }
    }
    let prefix = if header { "Authorization: Bearer " } else { "" };
    context.printer.data(&format!("{prefix}{}\n", tokens.access_token.expose())).await?;
    Ok(Exit::Done)
}
