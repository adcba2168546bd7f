//! `authcli profile`: what stands in `config.toml`, and changes of it. No network, and no token is read but to find out
//! whether there is one.

use anyhow::Context as _;
use authcli::error::StoreError;
use authcli::profile::{Form, Profile, ProfileError, Setting, Writer};
use secrecy::zeroize::Zeroizing;
use serde_json::{Map, Value, json};

use super::context::{Context, DEFAULT_PROFILE, variable};
use super::login::input;
use super::logout;
use crate::cli::ProfileCommand;
use crate::outcome::{Exit, NotLoggedIn, Usage};
use crate::ui::summary::{aligned, columns};

pub(crate) async fn run(context: &Context, command: ProfileCommand) -> anyhow::Result<Exit> {
    match command {
        ProfileCommand::List { json } => list(context, json).await,
        ProfileCommand::Show { name, json } => show(context, name.as_deref(), json).await,
        ProfileCommand::Set { key, value, .. } => set(context, &key, value).await,
        ProfileCommand::Use { name } => choose(context, &name).await,
        ProfileCommand::Remove { name, logout } => remove(context, &name, logout).await,
    }
}

async fn list(context: &Context, json: bool) -> anyhow::Result<Exit> {
    let profiles = || context.configuration.profiles();
    if json {
        let object = |(name, profile): (&str, &Profile)| {
            json!({
                "name": name,
                "in_use": name == context.profile_name,
                "server": profile.server,
                "username": profile.username,
                "store": profile.store,
            })
        };
        let text = format!("{}\n", profiles().map(object).collect::<Value>());
        context.printer.data(&text).await?;
        return Ok(Exit::Done);
    }
    let row = |(name, profile): (&str, &Profile)| {
        let mark = if name == context.profile_name { "*" } else { " " };
        let said = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        [
            format!("{mark} {name}"),
            said(profile.server.clone()),
            said(profile.username.clone()),
            said(profile.store.map(|kind| kind.to_string())),
        ]
    };
    let rows: Vec<_> = profiles().map(row).collect();
    context.printer.data(&columns(&rows)).await?;
    if rows.is_empty() {
        context.printer.note("There are no profiles yet; `authcli login` makes one");
    }
    Ok(Exit::Done)
}

async fn show(context: &Context, name: Option<&str>, json: bool) -> anyhow::Result<Exit> {
    let name = name.unwrap_or(&context.profile_name);
    known(context, name)?;
    let settings = context.configuration.settings(name);
    let text = if json {
        let mut object = Map::from_iter([
            ("name".to_owned(), name.into()),
            ("in_use".to_owned(), (name == context.profile_name).into()),
        ]);
        for (setting, value) in settings {
            put(&mut object, setting.key, value.map_or(Value::Null, |value| as_json(&value)));
        }
        format!("{}\n", Value::Object(object))
    } else {
        let said = |(setting, value): (&'static Setting, Option<_>)| Some((setting.key, as_text(&value?)));
        let rows: Vec<_> =
            [("profile", name.to_owned())].into_iter().chain(settings.into_iter().filter_map(said)).collect();
        aligned(&rows)
    };
    context.printer.data(&text).await?;
    Ok(Exit::Done)
}

async fn set(context: &Context, key: &str, value: Option<String>) -> anyhow::Result<Exit> {
    let value = value.map(Zeroizing::new);
    let name = context.profile_name.as_str();
    let setting = Setting::find(key)?;
    if setting.writer == Writer::Login {
        let login = context.printer.login_command();
        return Err(Usage::with_hint(format!("`{key}` is noted by a login"), format!("run `{login}`")).into());
    }
    let value = match value {
        Some(dash) if *dash == "-" => Some(input::setting(setting.key).await?),
        value => value,
    };
    let value = match (&setting.form, value.as_deref()) {
        // Typed here, read from anywhere.
        (Form::Path, Some(path)) => {
            let path = std::path::absolute(path).with_context(|| format!("`{key}` is `{path}`"))?;
            Some(Zeroizing::new(path.to_str().context("the path is no UTF-8")?.to_owned()))
        }
        _ => value,
    };
    let is_new = context.profile().is_none();
    let change = async || {
        let edited =
            context.configuration.change(|edit| edit.set(name, key, value.as_deref().map(String::as_str))).await;
        Ok(edited?)
    };
    if key == "store" {
        let refused = || {
            let to = value.as_deref().map_or("keyring", String::as_str);
            Usage::with_hint(
                format!("the tokens of profile `{name}` are in the store that it names"),
                format!("to move them, run `{} --store {to}`", context.printer.login_command()),
            )
        };
        while_logged_out(context, name, refused, change).await?;
    } else {
        change().await?;
    }
    if is_new {
        context.printer.note(&format!("Made profile `{name}`"));
    }
    Ok(Exit::Done)
}

async fn choose(context: &Context, name: &str) -> anyhow::Result<Exit> {
    // It is used without a choice, and need not be there yet.
    let choice = Some(name).filter(|name| *name != DEFAULT_PROFILE);
    context.configuration.change(|edit| edit.choose(choice)).await?;
    context.printer.note(&format!("Profile `{name}` is used from now on"));
    if variable("AUTHCLI_PROFILE").is_some_and(|named| named != name) {
        context.printer.warn("AUTHCLI_PROFILE is set, and goes before it");
    }
    Ok(Exit::Done)
}

async fn remove(context: &Context, name: &str, log_out: bool) -> anyhow::Result<Exit> {
    let profile = known(context, name)?;
    if log_out {
        match logout::of(context, name, profile).await {
            Err(error) if !error.is::<NotLoggedIn>() => return Err(error),
            _ => {}
        }
    }
    let refused = || {
        Usage::with_hint(
            format!("profile `{name}` is logged in"),
            format!("run `authcli profile remove {name} --logout` to revoke the session first"),
        )
    };
    while_logged_out(context, name, refused, async || {
        Ok(context.configuration.change(|edit| edit.remove(name)).await?)
    })
    .await?;
    context.printer.note(&format!("Removed profile `{name}`"));
    Ok(Exit::Done)
}

/// Makes a change that would leave tokens behind where nothing names them, under the credential's lock and only while
/// there are none: a login that goes on meanwhile is waited for.
async fn while_logged_out(
    context: &Context,
    name: &str,
    refused: impl FnOnce() -> Usage,
    change: impl AsyncFnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let profile = context.configuration.profile(name);
    let Some((credential, kind)) = profile.and_then(|profile| context.credential_of(profile)) else {
        return change().await;
    };
    let _locked = credential.lock().await?;
    match credential.load().await {
        Ok(None) => {}
        Ok(Some(_)) | Err(StoreError::Damaged { .. }) => return Err(refused().into()),
        Err(error) => return Err(error.into()),
    }
    // A keyring that is locked shows nothing either.
    let why = context.why_nothing_is_stored(name, &credential, kind).await;
    if why.is::<NotLoggedIn>() { change().await } else { Err(why) }
}

fn known<'a>(context: &'a Context, name: &str) -> Result<&'a Profile, ProfileError> {
    context.configuration.profile(name).ok_or_else(|| ProfileError::Unknown(name.to_owned()))
}

/// Puts `value` where the dots of `key` lead to.
fn put(object: &mut Map<String, Value>, key: &str, value: Value) {
    match key.split_once('.') {
        Some((first, rest)) => {
            if let Value::Object(below) = object.entry(first).or_insert_with(|| json!({})) {
                put(below, rest, value);
            }
        }
        None => drop(object.insert(key.to_owned(), value)),
    }
}

fn as_json(value: &toml_edit::Value) -> Value {
    use toml_edit::Value as Toml;

    match value {
        Toml::String(text) => text.value().as_str().into(),
        Toml::Integer(number) => (*number.value()).into(),
        Toml::Boolean(flag) => (*flag.value()).into(),
        Toml::Array(items) => items.iter().map(as_json).collect(),
        // Constants of an API; their values are hidden by now.
        Toml::InlineTable(table) => {
            Value::Object(table.iter().map(|(name, value)| (name.to_owned(), as_json(value))).collect())
        }
        // No setting has another form.
        other => other.to_string().trim().into(),
    }
}

/// Returns `value` as it is typed.
fn as_text(value: &toml_edit::Value) -> String {
    match as_json(value) {
        Value::String(text) => text,
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(","),
        other => other.to_string(),
    }
}
