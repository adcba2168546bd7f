//! `authcli-server user …`: these work on the database, beside a running server or without one.

use std::fmt::Write as _;

use tracing::warn;

use super::CommandError;
use super::context::{open_database, print, read_password, tell};
use crate::cli::{DatabaseArgs, UserArgs, UserPasswordArgs};
use crate::domain::Username;
use crate::password::{PasswordCost, Passwords};
use crate::ports::{LoggedOut, UnfinishedRevocation};
use crate::store::Missing;

/// Adds a user; makes the database if there is none.
pub(super) async fn add(args: UserPasswordArgs) -> Result<(), CommandError> {
    check_source(&args)?;
    let name = Username::parse(&args.user.name)?;
    let hash = Passwords::new(PasswordCost::default())?.hash(read_password()?).await?;
    let store = open_database(&args.user.database, Missing::Create).await?;
    let added = store.add_user(&name, &hash, None).await;
    store.close().await;
    let id = added?.ok_or_else(|| CommandError::UserExists(name.to_string()))?;
    tell(&format!("Added the user `{name}` (id {id})"));
    Ok(())
}

/// Lists the users, a line each: number, name, since when.
pub(super) async fn list(args: DatabaseArgs) -> Result<(), CommandError> {
    let store = open_database(&args, Missing::Refuse).await?;
    let users = store.users().await;
    store.close().await;
    let users = users?;
    if users.is_empty() {
        tell("There are no users");
    }
    let widest = users.iter().map(|user| user.name.chars().count()).max().unwrap_or(0);
    let mut table = String::new();
    for user in users {
        let since = user.created_at.to_the_second();
        let disabled = if user.enabled { "" } else { "  disabled" };
        let (id, name) = (user.id.0, user.name);
        let _ = writeln!(table, "{id:>4}  {name:<widest$}  {since}{disabled}");
    }
    print(&table)
}

/// Removes a user with its sessions.
pub(super) async fn remove(args: UserArgs) -> Result<(), CommandError> {
    let name = Username::parse(&args.name)?;
    let store = open_database(&args.database, Missing::Refuse).await?;
    let removed = store.remove_user(&name).await;
    store.close().await;
    let ended = logged_out(removed, &name)?;
    warn!(user_id = %ended.user_id, count = ended.sessions, "user removed and sessions revoked by the operator");
    tell(&format!("Removed the user `{name}` and ended its sessions"));
    Ok(())
}

/// Sets a user's password and ends its sessions.
pub(super) async fn password(args: UserPasswordArgs) -> Result<(), CommandError> {
    check_source(&args)?;
    let name = Username::parse(&args.user.name)?;
    let hash = Passwords::new(PasswordCost::default())?.hash(read_password()?).await?;
    let store = open_database(&args.user.database, Missing::Refuse).await?;
    let changed = store.set_password(&name, &hash).await;
    store.close().await;
    let ended = logged_out(changed, &name)?;
    warn!(user_id = %ended.user_id, count = ended.sessions, "password changed and sessions revoked by the operator");
    tell(&format!("Changed the password of `{name}` and ended its sessions"));
    Ok(())
}

/// Disables a user and ends its sessions.
pub(super) async fn disable(args: UserArgs) -> Result<(), CommandError> {
    let name = Username::parse(&args.name)?;
    let store = open_database(&args.database, Missing::Refuse).await?;
    let disabled = store.disable_user(&name).await;
    store.close().await;
    let ended = logged_out(disabled, &name)?;
    warn!(user_id = %ended.user_id, count = ended.sessions, "user disabled and sessions revoked by the operator");
    tell(&format!("Disabled the user `{name}` and ended its sessions"));
    Ok(())
}

/// Lets a user log in again.
pub(super) async fn enable(args: UserArgs) -> Result<(), CommandError> {
    let name = Username::parse(&args.name)?;
    let store = open_database(&args.database, Missing::Refuse).await?;
    let enabled = store.enable_user(&name).await;
    store.close().await;
    if !enabled? {
        return Err(CommandError::NoSuchUser(name.to_string()));
    }
    tell(&format!("Enabled the user `{name}`; it can log in again"));
    Ok(())
}

/// Returns what a change of a user has ended. Where it failed on its way, what is revoked is revoked.
fn logged_out(
    change: Result<Option<LoggedOut>, UnfinishedRevocation>,
    name: &Username,
) -> Result<LoggedOut, CommandError> {
    match change {
        Ok(ended) => ended.ok_or_else(|| CommandError::NoSuchUser(name.to_string())),
        Err(unfinished) => {
            if unfinished.revoked > 0 {
                warn!(count = unfinished.revoked, "sessions of a user revoked by the operator");
            }
            Err(unfinished.into())
        }
    }
}

/// The flag is required, but the environment may have set it to no.
fn check_source(args: &UserPasswordArgs) -> Result<(), CommandError> {
    if args.password_stdin { Ok(()) } else { Err(CommandError::NoPasswordSource) }
}
