//! `authcli-server sessions …`: these work on the database, beside running servers or without one.

use tracing::warn;

use super::CommandError;
use super::context::{open_database, print, tell};
use crate::cli::SessionsRevokeArgs;
use crate::domain::{UnixMillis, Username};
use crate::ports::{SessionSelection, Store};
use crate::store::Missing;
use crate::text::counted;

/// Revokes the live sessions that all given conditions hold for, and prints how many those were. The conditions are said
/// before: some may come from the environment, where they were set for another command.
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
    print(&format!("{} revoked\n", counted(revoked?, "session")))
}

async fn revoke_selected(store: &dyn Store, selection: &SessionSelection) -> Result<u64, CommandError> {
    let user_id = match &selection.user {
        Some(name) => Some(store.user_id(name).await?.ok_or_else(|| CommandError::NoSuchUser(name.to_string()))?),
        None => None,
    };
    tell(&format!("Revoking the sessions that are {}", conditions(selection)));
    let revoked = store.revoke_sessions(selection).await;
    let count = revoked.as_ref().map_or_else(|unfinished| unfinished.revoked, |count| *count);
    if count > 0 {
        warn!(
            count,
            user_id = user_id.map(tracing::field::display),
            session = selection.id.map(tracing::field::display),
            opened_before = selection.opened_before.map(UnixMillis::to_the_second),
            "sessions revoked by the operator"
        );
    }
    Ok(revoked?)
}

/// Says what all holds for the sessions of a selection.
fn conditions(selection: &SessionSelection) -> String {
    let user = selection.user.as_ref().map(|name| format!("of the user `{name}`"));
    let id = selection.id.map(|id| format!("called {id}"));
    let before = selection.opened_before.map(|before| format!("opened before {}", before.to_the_second()));
    [user, id, before].into_iter().flatten().collect::<Vec<_>>().join(" and ")
}
