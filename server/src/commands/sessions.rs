//! `authcli-server sessions …`: these work on the database, beside running servers or without one.

use super::CommandError;
use super::context::{open_database, print};
use crate::cli::SessionsRevokeArgs;
use crate::domain::{UnixMillis, Username};
use crate::ports::{SessionSelection, Store};
use crate::store::Missing;

/// Revokes the live sessions that all given conditions hold for, and prints how many those were.
pub(super) async fn revoke(args: SessionsRevokeArgs) -> Result<(), CommandError> {
    let selected = args.selection;
    let selection = SessionSelection {
        user: selected.user.as_deref().map(Username::parse).transpose()?,
        id: selected.id,
        opened_before: selected.before.map(|before| UnixMillis(before.as_millisecond())),
    };
    let store = open_database(&args.database, Missing::Refuse).await?;
    let revoked = revoke_selected(&*store, &selection).await;
    store.close().await;
    let count = revoked?;
    print(&format!("{count} {} revoked\n", if count == 1 { "session" } else { "sessions" }))
}

async fn revoke_selected(store: &dyn Store, selection: &SessionSelection) -> Result<u64, CommandError> {
    if let Some(name) = &selection.user
        && store.user_id(name).await?.is_none()
    {
        return Err(CommandError::NoSuchUser(name.to_string()));
    }
    Ok(store.revoke_sessions(selection).await?)
}
