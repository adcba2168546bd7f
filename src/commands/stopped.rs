//! Many requests that a signal stops, and what they came to by then.

use authcli::load::Stop;

use crate::signals::Stopping;

/// Does `work`, which `stop` ends: at once when a signal asks for it. What it does then is the end of it.
pub(super) async fn stopped_by<T>(stopping: Stopping, stop: &Stop, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = stopping.asked() => stop.at_once(),
    }
    work.await
}
