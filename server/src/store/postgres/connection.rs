//! Connections: how they are made, and what happens when one breaks.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnection, PgPoolOptions, PgRow};
use sqlx::query::Query;
use tokio::time::{sleep, timeout};

use super::PostgresStore;
use super::errors::{Trouble, store_error, trouble};
use crate::ports::StoreError;

/// One statement with all that it needs.
pub(super) type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// Connections of one server; a database with its defaults has a hundred for all.
const CONNECTIONS: u32 = 16;
/// How long to wait for a connection: until one is given back, or until the database accepts new ones.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long to wait for an answer; the database's own bound below comes first, unless it is out of reach.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may come late that nobody waits for any more, and that to a connection that is given back.
const LATE_ANSWER: Duration = Duration::from_secs(1);
/// How long whoever closes the store waits for what is under way: longer than the bounds of a statement and of giving back.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(13);
/// A connection that lay idle for longer is tried before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
const IDLE_TIMEOUT: Duration = Duration::from_mins(10);
const LONGEST_LIFE: Duration = Duration::from_mins(30);
/// How often a statement is run at most.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(20);

/// Whatever the defaults of the database or the user are. A stronger `synchronous_commit` than ours is kept.
const SET_UP: &str = "SELECT set_config('default_transaction_isolation', 'read committed', false),
    set_config('synchronous_commit', CASE current_setting('synchronous_commit')
        WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false),
    set_config('statement_timeout', '8s', false),
    set_config('lock_timeout', '5s', false),
    set_config('idle_in_transaction_session_timeout', '10s', false)";

/// When a connection was last found broken: those that lay idle since before then are likely to be broken as well.
#[derive(Clone, Debug, Default)]
pub(super) struct LastLoss(Arc<Mutex<Option<Instant>>>);

impl LastLoss {
    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn was_within(&self, time: Duration) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|loss| loss.elapsed() <= time)
    }
}

/// Returns what a pool of this store is like.
pub(super) fn pool(last_loss: LastLoss) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(IDLE_TIMEOUT)
        .max_lifetime(LONGEST_LIFE)
        .test_before_acquire(false)
        .before_acquire(move |connection, metadata| {
            let trusted = metadata.idle_for < TRUSTED_IDLE && !last_loss.was_within(metadata.idle_for);
            Box::pin(async move {
                Ok(trusted || timeout(ACQUIRE_TIMEOUT, connection.ping()).await.is_ok_and(|answer| answer.is_ok()))
            })
        })
        .after_connect(|connection, _| {
            Box::pin(async move { sqlx::query(SET_UP).execute(connection).await.map(|_| ()) })
        })
}

/// What a statement did, and whether an earlier run of it may have done it already.
pub(super) struct Done {
    /// The rows that it returned.
    pub(super) rows: Vec<PgRow>,
    /// Whether the connection was lost during an earlier run.
    pub(super) maybe_before: bool,
}

impl PostgresStore {
    /// Runs a statement that may be run again: it reads, or recognises what an earlier run of it did.
    pub(super) async fn run<'q>(
        &self,
        statement: impl Fn() -> Statement<'q> + Send + Sync,
    ) -> Result<Done, StoreError> {
        let mut maybe_before = false;
        let mut tries = 1;
        loop {
            let error = match self.run_once(statement()).await {
                Ok(rows) => return Ok(Done { rows, maybe_before }),
                Err(error) => error,
            };
            let trouble = trouble(&error);
            maybe_before |= trouble == Trouble::Lost;
            let again = matches!(trouble, Trouble::Lost | Trouble::Conflict) && !is_timeout(&error);
            if !again || tries == TRIES {
                return Err(store_error(error));
            }
            tracing::debug!(%error, "a statement is run again");
            sleep(PAUSE * tries).await;
            tries += 1;
        }
    }

    /// Runs a statement once. A connection that was lost does not go back to the others; neither does one whose answer
    /// nobody waits for any more, unless that comes soon.
    pub(super) async fn run_once(&self, statement: Statement<'_>) -> Result<Vec<PgRow>, sqlx::Error> {
        let mut asked = self.ask().await?;
        let result = timed(ANSWER_TIMEOUT, statement.fetch_all(asked.connection()?)).await;
        if result.as_ref().is_err_and(|error| trouble(error) == Trouble::Lost) {
            asked.give_up();
        }
        result
    }

    /// Takes a connection to ask something.
    pub(super) async fn ask(&self) -> Result<Asked, sqlx::Error> {
        Ok(Asked { connection: Some(self.pool.acquire().await?), last_loss: self.last_loss.clone() })
    }
}

/// A connection to ask something. Whoever asks may stop waiting at any moment: a client that goes away, a bound that is
/// shorter than ours. sqlx would wait for the answer without any bound then, and keep its place taken meanwhile.
pub(super) struct Asked {
    /// None once it was given back or up.
    connection: Option<PoolConnection<Postgres>>,
    last_loss: LastLoss,
}

impl Asked {
    pub(super) fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.connection.as_deref_mut().ok_or(sqlx::Error::WorkerCrashed)
    }

    /// Gives the connection back to the pool, which asks the database once more before it is free for others: that reads
    /// what is still due of an answer. sqlx by itself waits for it without any bound; a network that falls silent just
    /// then would keep the place taken for as long as TCP has hope.
    pub(super) fn give_back(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let (returned, last_loss) = (connection.return_to_pool(), self.last_loss.clone());
        tokio::spawn(async move {
            // Dropped then, the connection is closed and its place is free.
            if timeout(LATE_ANSWER, returned).await.is_err() {
                last_loss.note();
            }
        });
    }

    /// Takes the connection out of the pool, which makes another one when it needs it.
    pub(super) fn give_up(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.last_loss.note();
            drop(connection.detach());
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Waits for an answer, but not for ever.
pub(super) async fn timed<T, E: From<sqlx::Error>>(
    bound: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match timeout(bound, answer).await {
        Ok(result) => result,
        Err(_) => Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")).into()),
    }
}

/// Whoever asked has waited long enough.
fn is_timeout(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}
