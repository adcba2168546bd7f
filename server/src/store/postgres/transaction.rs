//! Transactions: what operators change, each of it once.
//!
//! - Every answer has a bound, also those to `BEGIN` and `COMMIT`: a network that swallows everything holds up no operator
//!   for good.
//! - A transaction that is not committed is rolled back, with its connection. Only of one whose `COMMIT` was not answered
//!   nobody knows, and that is what is said then.

use std::time::Duration;

use sqlx::postgres::PgRow;

use super::PostgresStore;
use super::connection::{ANSWER_TIMEOUT, Asked, Statement, timed};
use super::errors::{Trouble, store_error, trouble};
use crate::ports::StoreError;

/// A statement of an operator may look at all that a user ever opened: nobody is served by its being broken off.
const SET_UP: &str = "SELECT set_config('statement_timeout', '120s', true)";
/// How long to wait for its answer; the bound above comes first, unless the database is out of reach.
const PATIENCE: Duration = Duration::from_secs(125);

/// A transaction that is under way.
pub(super) struct Transaction {
    asked: Asked,
}

impl PostgresStore {
    /// Begins a transaction.
    pub(super) async fn begin(&self) -> Result<Transaction, StoreError> {
        let mut transaction = Transaction { asked: self.ask().await.map_err(store_error)? };
        transaction.rows_within(ANSWER_TIMEOUT, sqlx::query("BEGIN")).await?;
        transaction.rows_within(ANSWER_TIMEOUT, sqlx::query(SET_UP)).await?;
        Ok(transaction)
    }
}

impl Transaction {
    /// Runs a statement and returns its rows.
    pub(super) async fn rows(&mut self, statement: Statement<'_>) -> Result<Vec<PgRow>, StoreError> {
        self.rows_within(PATIENCE, statement).await
    }

    /// Runs a statement and returns how many rows it changed.
    pub(super) async fn execute(&mut self, statement: Statement<'_>) -> Result<u64, StoreError> {
        let done = timed(PATIENCE, statement.execute(self.asked.connection().map_err(store_error)?)).await;
        done.map(|done| done.rows_affected()).map_err(store_error)
    }

    /// Makes it last.
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        let connection = self.asked.connection().map_err(store_error)?;
        match timed(ANSWER_TIMEOUT, sqlx::query("COMMIT").execute(connection)).await {
            Ok(_) => {
                self.asked.give_back();
                Ok(())
            }
            Err(error) if trouble(&error) == Trouble::Lost => Err(StoreError::Unknown(Box::new(error))),
            Err(error) => Err(store_error(error)),
        }
    }

    async fn rows_within(&mut self, bound: Duration, statement: Statement<'_>) -> Result<Vec<PgRow>, StoreError> {
        timed(bound, statement.fetch_all(self.asked.connection().map_err(store_error)?)).await.map_err(store_error)
    }
}

impl Drop for Transaction {
    /// Not given back: others would find themselves in the midst of it.
    fn drop(&mut self) {
        self.asked.give_up();
    }
}
