//! `authcli-server keys …`: these work on the database, beside running servers or without one.

use std::fmt::Write as _;

use super::CommandError;
use super::context::{database_url, open_database, pepper_source, print, tell};
use crate::cli::{DatabaseArgs, KeysRotateArgs};
use crate::domain::KeyPhase;
use crate::keys;
use crate::pepper::{Absent, Peppers};
use crate::ports::Store;
use crate::store::Missing;

/// Lists the signing keys, a line each: name, what it does, since or until when.
pub(super) async fn list(args: DatabaseArgs) -> Result<(), CommandError> {
    let store = open_database(&args, Missing::Refuse).await?;
    let list = store.signing_keys().await;
    store.close().await;
    let list = list?;
    if list.keys.is_empty() {
        tell("There are no keys yet; the first start of the server makes one");
    }
    let mut table = String::new();
    for (key, phase) in list.keys.iter().zip(keys::phases(&list)) {
        let signs_from = key.times.signs_from.to_the_second();
        let what = match phase {
            KeyPhase::Announced => format!("announced, signs from {signs_from}"),
            KeyPhase::Signing => format!("signing since {signs_from}"),
            KeyPhase::Verifying { until } => format!("verifying until {}", until.to_the_second()),
            KeyPhase::Dead => "dead, about to be removed".to_owned(),
        };
        let _ = writeln!(table, "{}  {what}", key.key.id.0);
    }
    print(&table)
}

/// Announces a new key, or with `--now` replaces all keys at once.
pub(super) async fn rotate(args: KeysRotateArgs) -> Result<(), CommandError> {
    let source = pepper_source(&database_url(&args.database)?)?;
    let store = open_database(&args.database, Missing::Refuse).await?;
    let rotated = async {
        // Where all keys go, so does what an absent pepper is needed for.
        let absent = if args.now { Absent::Ignore } else { Absent::Check };
        let peppers = Peppers::load_known(&source, &*store, absent).await?;
        if peppers.newer_waits() {
            tell("It is sealed under the present pepper: no server was started with the newer one yet");
        }
        if args.now { replace(&*store, &peppers).await } else { announce(&*store, &peppers).await }
    };
    let said = rotated.await;
    store.close().await;
    tell(&said?);
    Ok(())
}

async fn announce(store: &dyn Store, peppers: &Peppers) -> Result<String, CommandError> {
    let id = keys::announce(store, peppers).await?.ok_or(CommandError::KeyAnnounced)?;
    let list = store.signing_keys().await?;
    let key = list.keys.iter().find(|key| key.key.id == id);
    // Gone already only if somebody has replaced all keys in this moment.
    let from = key.map_or_else(|| "never".to_owned(), |key| key.times.signs_from.to_the_second());
    Ok(format!("Announced the signing key {}; it signs from {from}", id.0))
}

async fn replace(store: &dyn Store, peppers: &Peppers) -> Result<String, CommandError> {
    let id = keys::replace(store, peppers).await?;
    let seconds = keys::RELOAD_PERIOD.as_secs();
    Ok(format!(
        "Replaced all signing keys by {} (`--now`); what they signed is refused within {seconds} s, and clients refresh",
        id.0
    ))
}
