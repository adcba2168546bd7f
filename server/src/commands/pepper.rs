//! `authcli-server pepper …`: these work on the database and the pepper file, beside running servers or without one.

use std::fmt::Write as _;

use super::CommandError;
use super::context::{database_url, open_database, pepper_source, print, tell};
use crate::cli::{DatabaseArgs, PepperForgetArgs};
use crate::keys;
use crate::pepper::{self, Listed, PepperError, PepperSource, Role};
use crate::ports::{Forgotten, PepperId, Store};
use crate::store::Missing;
use crate::text::counted;

/// Lists the peppers, a line each: number, what it does, what needs it.
pub(super) async fn list(args: DatabaseArgs) -> Result<(), CommandError> {
    let source = pepper_source(&database_url(&args)?)?;
    let store = open_database(&args, Missing::Refuse).await?;
    let listed = pepper::list(&source, &*store).await;
    store.close().await;
    let listed = listed?;
    if listed.is_empty() {
        tell("There is no pepper yet; the first start of the server makes one");
    }
    let latest = listed.iter().filter_map(|listed| listed.id).max();
    let mut table = String::new();
    for Listed { id, role, needs } in listed {
        let number = id.map_or_else(|| "new".to_owned(), |id| id.0.to_string());
        let name = match role {
            Role::Newest => "newest",
            Role::Older => "older",
            Role::Absent => "absent",
        };
        let needs = match needs {
            None => "no server was started with it yet".to_owned(),
            // Not what the list says of one that may go.
            Some(needs) if needs.is_nothing() && role != Role::Newest && id == latest => {
                "a server was started with it: keep it, it is newer than the others".to_owned()
            }
            Some(needs) if needs.is_nothing() => "nothing needs it".to_owned(),
            Some(needs) => needs.to_string(),
        };
        let _ = writeln!(table, "{number:>3}  {name:<6}  {needs}");
    }
    print(&table)
}

/// Puts a new pepper before the present one.
pub(super) async fn rotate(args: DatabaseArgs) -> Result<(), CommandError> {
    let source = pepper_source(&database_url(&args)?)?;
    let store = open_database(&args, Missing::Refuse).await?;
    let rotated = pepper::rotate(&source, &*store).await;
    store.close().await;
    rotated?;
    tell("Put a new pepper before the present one; start the servers anew, each with the same peppers, to use it");
    Ok(())
}

/// Forgets a pepper that is lost; without `--yes`, says what would end.
pub(super) async fn forget(args: PepperForgetArgs) -> Result<(), CommandError> {
    let source = pepper_source(&database_url(&args.database)?)?;
    let store = open_database(&args.database, Missing::Refuse).await?;
    let forgotten = forget_lost(&*store, &source, PepperId(args.id), args.yes).await;
    store.close().await;
    let Forgotten { sessions, keys } = forgotten?;
    let (sessions, keys) = (counted(sessions, "session"), counted(keys, "signing key"));
    tell(&format!("Forgot the pepper {}: {sessions} ended, {keys} removed", args.id));
    Ok(())
}

async fn forget_lost(
    store: &dyn Store,
    source: &PepperSource,
    id: PepperId,
    agreed: bool,
) -> Result<Forgotten, CommandError> {
    let lost = pepper::lost(source, store, id).await?;
    if !agreed {
        return Err(PepperError::NotAgreed { id, ending: lost.needs }.into());
    }
    // Without others, the next start makes a key with its own pepper.
    let key = lost.rest.as_ref().map(keys::in_place_of_lost).transpose()?;
    let forgotten = store.forget_pepper(id, key.as_ref()).await?;
    // None only if somebody else has forgotten it in this moment.
    Ok(forgotten.ok_or(PepperError::Unknown(id))?)
}
