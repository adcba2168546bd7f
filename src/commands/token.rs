//! `authcli token`.

use std::sync::Arc;
use std::time::Duration;

use authcli::clock::SystemClock;
use authcli::expiry;
use authcli::gate::{Clock as _, RefreshGate, Work};
use authcli::token::TokenSet;

use super::context::Context;
use crate::outcome::Exit;
use crate::ui::report;

/// Prints a live access token. At most one refresh is sent for it.
pub(crate) async fn run(context: &mut Context, header: bool, min_valid: Option<Duration>) -> anyhow::Result<Exit> {
    let session = context.open_session(Work::Short).await?;
    let gate = session.gate();
    let tokens = match min_valid {
        Some(least) => valid_for(context, gate, least).await?,
        None => gate.current().await?,
    };
    let token = &tokens.access_token;
    let line = if header { session.attachment().line(token) } else { token.expose().to_owned() };
    context.printer.data(&format!("{line}\n")).await?;
    Ok(Exit::Done)
}

/// Returns a token that is good for `least`, or with a warning the best there is.
async fn valid_for(context: &Context, gate: &RefreshGate, least: Duration) -> anyhow::Result<Arc<TokenSet>> {
    match gate.valid_for(least).await {
        Ok(tokens) => {
            if left(&tokens).is_some_and(|left| left < least) {
                context.printer.warn("the server issues tokens that are shorter-lived than asked for");
            }
            Ok(tokens)
        }
        // The session stands, and so does the token that there is.
        Err(error) if error.leaves_session_usable() && left(&gate.snapshot()).is_some_and(|left| !left.is_zero()) => {
            let why = report::in_one_line(&error.into());
            context.printer.warn(&format!("the token is shorter-lived than asked for: {why}"));
            Ok(gate.snapshot())
        }
        Err(error) => Err(error.into()),
    }
}

fn left(tokens: &TokenSet) -> Option<Duration> {
    expiry::remaining(tokens.received_at, tokens.access_lifetime, SystemClock.now())
}
