//! `authcli refresh`.

use authcli::gate::Work;

use super::context::Context;
use crate::outcome::Exit;

/// Refreshes now. Tokens that another process got since the start of this one are new enough.
pub(crate) async fn run(context: &mut Context) -> anyhow::Result<Exit> {
    let session = context.open_session(Work::Short).await?;
    let old = session.gate().snapshot().generation;
    session.gate().refresh_now(old).await?;
    // Only what is saved is worth a word.
    context.settle().await?;
    let by_other = session.gate().counts().refreshes == 0;
    context.printer.note(if by_other { "Another process has just refreshed" } else { "Refreshed" });
    Ok(Exit::Done)
}
