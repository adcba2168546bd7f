//! `authcli-server migrate`.

use super::CommandError;
use super::context::{open_database, tell};
use crate::cli::DatabaseArgs;
use crate::store::Missing;

/// Brings the database up to date. Opening it does that, so there is nothing else to do.
pub(super) async fn migrate(args: DatabaseArgs) -> Result<(), CommandError> {
    let store = open_database(&args, Missing::Create).await?;
    store.close().await;
    tell(&format!("The database {} is up to date", store.path().display()));
    Ok(())
}
