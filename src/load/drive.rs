//! The engine, and beside it the way out of the lines that its sink puts into an outbox.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Instant;

use super::cores::beside;
use super::engine::run;
use super::{Departures, Manner, Outbox, Sink, Source, Stop};
use crate::session::Session;

/// [Runs](run) until `source` has no more or `stop` ends it, and lets the lines that `sink` puts into the outbox depart
/// through `write` meanwhile. Returns when the last request had ended, once all lines have been written: those too that
/// were put in before a stop. An error of `write` ends all of it; it is called on a thread of its own, which it may block.
pub async fn drive<S: Source, K: Sink<S::Tag>, E: Send + 'static>(
    session: &Session,
    source: &Arc<S>,
    sink: &Arc<K>,
    manner: Manner,
    stop: &Stop,
    (outbox, departures): (Outbox, Departures),
    write: impl FnMut(&[u8]) -> Result<(), E> + Send + 'static,
) -> Result<Instant, E> {
    let sending = async {
        run(session, source, sink, manner, stop).await;
        // Nobody puts anything in any more.
        outbox.complete();
        Ok(Instant::now())
    };
    let writing = async {
        let departed = beside(async move { departures.depart(write).await }).await;
        departed.unwrap_or_else(|panic| resume_unwind(panic))
    };
    let (end, ()) = tokio::try_join!(sending, writing)?;
    Ok(end)
}
