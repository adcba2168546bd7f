//! The engine, and beside it the way out of the lines that its sink puts into an outbox.

use std::sync::Arc;
use std::time::Instant;

use super::engine::run;
use super::{Departures, Manner, Outbox, Sink, Source, Stop};
use crate::session::Session;

/// [Runs](run) until `source` has no more or `stop` ends it, and lets the lines that `sink` puts into the outbox depart
/// through `write` meanwhile. Returns when the last request had ended, once all lines have been written: those too that
/// were put in before a stop. An error of `write` ends all of it.
pub async fn drive<S: Source, K: Sink<S::Tag>, E>(
    session: &Session,
    source: &Arc<S>,
    sink: &Arc<K>,
    manner: Manner,
    stop: &Stop,
    (outbox, departures): (Outbox, Departures),
    write: impl AsyncFnMut(&[u8]) -> Result<(), E>,
) -> Result<Instant, E> {
    let sending = async {
        run(session, source, sink, manner, stop).await;
        // Nobody puts anything in any more.
        outbox.complete();
        Ok(Instant::now())
    };
    let (end, ()) = tokio::try_join!(sending, departures.depart(write))?;
    Ok(end)
}
