//! `authcli status`.

use authcli::clock::SystemClock;
use authcli::gate::Clock as _;
use jiff::Timestamp;
use serde::Serialize;

use super::context::{Context, Stored};
use crate::outcome::Exit;
use crate::outcome::NotLoggedIn;
use crate::ui::summary::{aligned, until};

#[derive(Serialize)]
struct Status {
    logged_in: bool,
    profile: String,
    server: Option<String>,
    username: Option<String>,
    store: Option<String>,
    access_token_expires_at: Option<Timestamp>,
    refresh_token_expires_at: Option<Timestamp>,
}

/// Tells who is logged in where. No server is asked.
pub(crate) async fn run(context: &Context, json: bool) -> anyhow::Result<Exit> {
    match context.stored().await {
        Ok(stored) => {
            let status = status_of(context, &stored)?;
            let text = if json { one_line(&status)? } else { table(&status, SystemClock.now()) };
            context.printer.data(&text).await?;
            Ok(Exit::Done)
        }
        Err(error) if json && error.is::<NotLoggedIn>() => {
            context.printer.data(&one_line(&logged_out(context))?).await?;
            Ok(Exit::NotLoggedIn)
        }
        Err(error) => Err(error),
    }
}

fn status_of(context: &Context, stored: &Stored) -> anyhow::Result<Status> {
    Ok(Status {
        logged_in: true,
        profile: context.profile_name.clone(),
        server: Some(stored.server()?.to_string()),
        username: stored.tokens.account.clone(),
        store: Some(stored.kind.to_string()),
        access_token_expires_at: stored.tokens.access_token_expires_at().map(whole_seconds),
        refresh_token_expires_at: stored.tokens.refresh_token_expires_at().map(whole_seconds),
    })
}

fn logged_out(context: &Context) -> Status {
    let profile = context.profile();
    Status {
        logged_in: false,
        profile: context.profile_name.clone(),
        server: profile.and_then(|profile| profile.server.clone()),
        username: None,
        store: profile.and_then(|profile| profile.store).map(|kind| kind.to_string()),
        access_token_expires_at: None,
        refresh_token_expires_at: None,
    }
}

/// Fractions would be true, but many readers of RFC 3339 (jq's `fromdateiso8601`) take none. Cut off, never rounded up:
/// the token lives at least until then.
fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn one_line(status: &Status) -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string(status)?))
}

fn table(status: &Status, now: Timestamp) -> String {
    let unknown = || "unknown".to_owned();
    let rows = [
        ("profile", status.profile.clone()),
        ("server", status.server.clone().unwrap_or_else(unknown)),
        ("account", status.username.clone().unwrap_or_else(unknown)),
        ("store", status.store.clone().unwrap_or_else(unknown)),
        ("access token", until(status.access_token_expires_at, now)),
        ("session", until(status.refresh_token_expires_at, now)),
    ];
    aligned(&rows)
}
