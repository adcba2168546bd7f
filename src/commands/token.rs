//! `authcli token`.

use std::sync::Arc;
use std::time::Duration;

use authcli::Attachment;
use authcli::clock::SystemClock;
use authcli::expiry;
use authcli::gate::{Clock as _, RefreshGate, Work};
use authcli::token::TokenSet;
use serde_json::{Value, json};

use super::context::Context;
use crate::cli::{TokenArgs, TokenFormat};
use crate::outcome::Exit;
use crate::ui::report;
use crate::ui::summary::whole_seconds;

/// Prints a live access token. At most one refresh is sent for it.
pub(crate) async fn run(context: &mut Context, args: TokenArgs) -> anyhow::Result<Exit> {
    let session = context.open_session(Work::Short).await?;
    let gate = session.gate();
    let tokens = match args.min_valid {
        Some(least) => valid_for(context, gate, least).await?,
        None => gate.current().await?,
    };
    let token = &tokens.access_token;
    let line = match args.format {
        Some(format) => object(format, &tokens, session.attachment()).to_string(),
        None if args.header => session.attachment().line(token),
        None => token.expose().to_owned(),
    };
    context.printer.data(&format!("{line}\n")).await?;
    Ok(Exit::Done)
}

/// Returns the token and when it ends, as other programs read it.
fn object(format: TokenFormat, tokens: &TokenSet, attachment: &Attachment) -> Value {
    let token = tokens.access_token.expose();
    let expires_at = tokens.access_token_expires_at().map(whole_seconds);
    match format {
        TokenFormat::Json => {
            let scheme = Some(attachment.prefix.trim_end()).filter(|scheme| !scheme.is_empty());
            json!({"access_token": token, "token_type": scheme, "expires_at": expires_at})
        }
        TokenFormat::Kubernetes => {
            let mut status = json!({"token": token});
            // Without it kubectl uses the token until it is refused.
            if let Some(expires_at) = expires_at {
                status["expirationTimestamp"] = json!(expires_at);
            }
            json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status})
        }
    }
}

/// Returns a token that is good for `least`, or with a warning the best there is.
pub(super) async fn valid_for(context: &Context, gate: &RefreshGate, least: Duration) -> anyhow::Result<Arc<TokenSet>> {
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
