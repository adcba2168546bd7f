//! Work that is done to its end, whoever still waits for the answer.

use std::future::Future;

use tracing::Instrument as _;

use super::InternalError;

/// Runs work in a task of its own. A client that goes away stops waiting and stops nothing else: what a statement of its
/// has changed is followed by its alarm, by the verdict that must be forgotten, by the attempt that must be given back.
pub(super) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, InternalError> {
    Ok(tokio::spawn(work.in_current_span()).await?)
}
