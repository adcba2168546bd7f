//! The one writer: it gathers the changes that wait and commits them together, so that they share one write to the disk.
//!
//! - Nobody is answered before the commit is on the disk. If it fails, it fails for all whose changes were in it.
//! - A statement that the database refuses (a constraint) fails its own caller alone.
//! - What was asked for is done whether or not the caller still waits, in the order in which it was asked for.
//! - A change that comes alone is committed at once: what gathers the others is the time that a commit takes.
//! - The queue is bounded, in length and in time.
//!
//! It does not try again: who asked knows best whether to.

use std::sync::Arc;
use std::time::Duration;

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Connection as _, Sqlite, SqlitePool, Transaction};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{primary_code, store_error};
use crate::ports::StoreError;

/// One statement that changes something, with all that it needs.
pub(super) type Change = Query<'static, Sqlite, SqliteArguments>;

/// How many changes may wait; who comes then waits for room.
const QUEUE: usize = 1024;
/// How many changes one commit holds at most: enough that the disk is no bound, few enough that nobody waits long.
const LARGEST_BATCH: usize = 256;
/// How long a change may wait for its turn.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The way to the one writer.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    /// Bounded: a database that is slower than its callers must slow them down, not fill the memory.
    queue: mpsc::Sender<Waiting>,
    /// Tells the task to take what waits and no more.
    closing: Arc<watch::Sender<bool>>,
    /// The task that writes; taken by whoever closes first. A lock that is held across an await, so that a second one
    /// waits for the end as well.
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// A change and who waits for it.
struct Waiting {
    change: Change,
    since: Instant,
    caller: Caller,
}

/// The way back to who waits.
type Caller = oneshot::Sender<Answer>;

/// What the statement returned, read to its end.
type Answer = Result<Vec<SqliteRow>, StoreError>;

/// The commit that would have made a change last did not happen, as far as we know.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the transaction was not committed")]
struct NotCommitted(#[source] Arc<sqlx::Error>);

/// Why there is no answer from the writer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum NoTurn {
    #[error("the database is being closed")]
    Closing,
    #[error("too many changes wait to be written")]
    TooMany,
    #[error("a change waited too long to be written")]
    TooLong,
    #[error("the writer ended before it answered")]
    Ended,
}

impl Writer {
    /// Starts the task that writes, over a pool of one connection that others may borrow between two commits.
    pub(super) fn start(connection: SqlitePool) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (closing, closed) = watch::channel(false);
        let task = tokio::spawn(write_until_closed(connection, waiting, closed));
        Self { queue, closing: Arc::new(closing), task: Arc::new(Mutex::new(Some(task))) }
    }

    /// Makes a change last, and returns the rows that its statement returned.
    pub(super) async fn write(&self, change: Change) -> Answer {
        let (caller, answered) = oneshot::channel();
        let waiting = Waiting { change, since: Instant::now(), caller };
        self.queue.send_timeout(waiting, LONGEST_WAIT).await.map_err(|refused| match refused {
            mpsc::error::SendTimeoutError::Timeout(_) => NoTurn::TooMany,
            mpsc::error::SendTimeoutError::Closed(_) => NoTurn::Closing,
        })?;
        answered.await.map_err(|_| NoTurn::Ended)?
    }

    /// Answers whether somebody takes what is asked for: not after the end, nor after a panic.
    pub(super) fn is_alive(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Writes what waits, refuses what comes, and returns when all is answered.
    pub(super) async fn close(&self) {
        self.closing.send_replace(true);
        if let Some(task) = self.task.lock().await.take() {
            // An error means that it panicked, and then there is nothing left to wait for.
            let _ = task.await;
        }
    }
}

impl From<NoTurn> for StoreError {
    fn from(reason: NoTurn) -> Self {
        Self::Unavailable(Box::new(reason))
    }
}

async fn write_until_closed(
    connection: SqlitePool,
    mut waiting: mpsc::Receiver<Waiting>,
    mut closing: watch::Receiver<bool>,
) {
    let mut batch = Vec::new();
    loop {
        let taken = tokio::select! {
            taken = waiting.recv_many(&mut batch, LARGEST_BATCH) => Some(taken),
            // An error means that all who could close have gone: the queue ends by itself then.
            Ok(_) = closing.wait_for(|closing| *closing) => None,
        };
        let taken = if let Some(taken) = taken {
            taken
        } else {
            waiting.close();
            waiting.recv_many(&mut batch, LARGEST_BATCH).await
        };
        if taken == 0 {
            return;
        }
        batch = write_batch(&connection, &mut waiting, batch).await;
    }
}

/// Commits what waits and answers it; returns the emptied list, to be filled again.
async fn write_batch(
    connection: &SqlitePool,
    waiting: &mut mpsc::Receiver<Waiting>,
    mut batch: Vec<Waiting>,
) -> Vec<Waiting> {
    let mut connection = match connection.acquire().await {
        Ok(connection) => connection,
        Err(error) => return refuse_all(error, waiting, batch),
    };
    take_more(waiting, &mut batch, LARGEST_BATCH);
    if batch.len() == 1 {
        // Alone, a statement is its own transaction, committed in the step after its last row.
        for Waiting { change, caller, .. } in batch.drain(..) {
            let _ = caller.send(change.fetch_all(&mut *connection).await.map_err(store_error));
        }
        return batch;
    }
    let transaction = match connection.begin_with("BEGIN IMMEDIATE").await {
        Ok(transaction) => transaction,
        Err(error) => return refuse_all(error, waiting, batch),
    };
    take_more(waiting, &mut batch, LARGEST_BATCH);
    let mut answers = Vec::with_capacity(batch.len());
    match commit(transaction, batch.drain(..), &mut answers).await {
        // Whoever has gone does not matter.
        Ok(()) => answers.into_iter().for_each(|(caller, answer)| drop(caller.send(answer))),
        Err(error) => {
            refuse(error, answers.into_iter().map(|(caller, _)| caller));
            // SQLite may have rolled back by itself and sqlx not know it: a connection that failed once is not used again.
            let _ = connection.close().await;
        }
    }
    batch
}

/// Adds those who came meanwhile, as far as there is room.
fn take_more(waiting: &mut mpsc::Receiver<Waiting>, batch: &mut Vec<Waiting>, room: usize) {
    while batch.len() < room
        && let Ok(more) = waiting.try_recv()
    {
        batch.push(more);
    }
}

/// Makes all the changes and commits them. Each caller and its answer is added to `answers`, also where those are of no
/// use because the transaction failed.
async fn commit(
    mut transaction: Transaction<'_, Sqlite>,
    batch: impl Iterator<Item = Waiting>,
    answers: &mut Vec<(Caller, Answer)>,
) -> Result<(), sqlx::Error> {
    let mut failed = None;
    for Waiting { change, since, caller } in batch {
        let answer = if failed.is_some() {
            Ok(Vec::new())
        } else if since.elapsed() > LONGEST_WAIT {
            Err(NoTurn::TooLong.into())
        } else {
            // To its end: what comes after the last row counts as well.
            match change.fetch_all(&mut *transaction).await {
                Err(error) if !is_refusal(&error) => {
                    failed = Some(error);
                    Ok(Vec::new())
                }
                made => made.map_err(store_error),
            }
        };
        answers.push((caller, answer));
    }
    match failed {
        Some(error) => Err(error),
        None => transaction.commit().await,
    }
}

/// Answers whether the database refused a statement and nothing else: its transaction goes on without it.
///
/// After other errors (a full disk, no memory) SQLite may have rolled the whole transaction back:
/// <https://www.sqlite.org/lang_transaction.html#response_to_errors_within_a_transaction>.
fn is_refusal(error: &sqlx::Error) -> bool {
    const ERROR: u32 = 1;
    const TOO_BIG: u32 = 18;
    const CONSTRAINT: u32 = 19;
    const MISMATCH: u32 = 20;
    matches!(primary_code(error), Some(ERROR | TOO_BIG | CONSTRAINT | MISMATCH))
}

/// The database cannot be written to at all: whoever waits would only wait longer.
fn refuse_all(error: sqlx::Error, waiting: &mut mpsc::Receiver<Waiting>, mut batch: Vec<Waiting>) -> Vec<Waiting> {
    take_more(waiting, &mut batch, QUEUE + LARGEST_BATCH);
    refuse(error, batch.drain(..).map(|waiting| waiting.caller));
    batch
}

fn refuse(error: sqlx::Error, callers: impl Iterator<Item = Caller>) {
    let error = NotCommitted(Arc::new(error));
    for caller in callers {
        let _ = caller.send(Err(StoreError::Unavailable(Box::new(error.clone()))));
    }
}

#[cfg(test)]
mod tests;
