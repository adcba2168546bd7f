//! `authcli login`: with a password, at an OAuth 2.0 server, or by a refresh token from elsewhere.
//!
//! Store and server are checked before anything is asked. The session that stood before stands on until the new one is
//! saved, and is then revoked.

mod browser;
mod device;
pub(super) mod input;
mod oauth;
mod password;
mod saving;
mod take_up;

use authcli::profile::check_name;

use super::context::Context;
use crate::cli::LoginArgs;
use crate::outcome::{Exit, Usage};

/// Logs in: at the profile's authorization server if it names one, or flags do, else with a password.
pub(crate) async fn run(context: &Context, args: LoginArgs) -> anyhow::Result<Exit> {
    check_name(&context.profile_name)?;
    let own_issuer = context.profile().and_then(|profile| profile.oauth.as_ref()?.issuer.as_deref());
    if !args.oauth.are_given() && own_issuer.is_none() {
        return password::run(context, args.username, args.password_stdin).await;
    }
    if own_issuer.is_none() && !args.oauth.name_a_provider() {
        return take_up::run(context).await;
    }
    if let Some(issuer) = own_issuer.filter(|_| args.username.is_some() || args.password_stdin) {
        let message = format!("profile `{}` logs in at {issuer}, not with a password", context.profile_name);
        return Err(Usage::with_hint(message, "use another profile for that: `--profile NAME`").into());
    }
    oauth::run(context, args.oauth).await
}
