//! `authcli status`.

use authcli::claims::Claims;
use authcli::clock::SystemClock;
use authcli::gate::Clock as _;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::context::{Context, Stored};
use crate::outcome::Exit;
use crate::outcome::NotLoggedIn;
use crate::ui::summary::{aligned, until, whole_seconds};

#[derive(Serialize)]
struct Status {
    logged_in: bool,
    profile: String,
    server: Option<String>,
    username: Option<String>,
    store: Option<String>,
    access_token_expires_at: Option<Timestamp>,
    refresh_token_expires_at: Option<Timestamp>,
    /// Set where they were asked for; `null` where the token tells none.
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<Value>,
}

/// Tells who is logged in where. No server is asked.
pub(crate) async fn run(context: &Context, json: bool, claims: bool) -> anyhow::Result<Exit> {
    match context.stored().await {
        Ok(stored) => {
            let mut status = status_of(context, &stored)?;
            let told = claims.then(|| Claims::unverified(&stored.tokens.access_token));
            let text = if json {
                status.claims = told.map(|claims| claims.map_or(Value::Null, |claims| claims.as_json()));
                one_line(&status)?
            } else {
                let now = SystemClock.now();
                table(&status, now) + &told.map(|claims| table_of_claims(claims.as_ref(), now)).unwrap_or_default()
            };
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
        claims: None,
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
        claims: None,
    }
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

fn table_of_claims(claims: Option<&Claims>, now: Timestamp) -> String {
    let Some(claims) = claims else {
        return "\nThe access token is no JWT: only its server knows what it says\n".into();
    };
    let rows: Vec<_> = claims.iter().map(|(name, value)| (name, claim(name, value, now))).collect();
    format!("\nWhat the access token says of itself (not verified):\n{}", aligned(&rows))
}

fn claim(name: &str, value: &Value, now: Timestamp) -> String {
    match (Claims::moment(name, value), value) {
        (Some(at), _) if name == "exp" => until(Some(at), now),
        (Some(at), _) => at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        (None, Value::String(text)) => text.clone(),
        (None, other) => other.to_string(),
    }
}
