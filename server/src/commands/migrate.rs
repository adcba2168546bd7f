//! `authcli-server migrate`.

use super::CommandError;
use super::context::{database_url, tell};
use crate::cli::DatabaseArgs;
use crate::store::{self, Missing};

/// Brings the database up to date. Opening it does that, so there is nothing else to do.
pub(super) async fn migrate(args: DatabaseArgs) -> Result<(), CommandError> {
    let database = database_url(&args)?;
    store::open(&database, Missing::Create).await?.close().await;
    tell(&format!("The database {database} is up to date"));
    Ok(())
}
