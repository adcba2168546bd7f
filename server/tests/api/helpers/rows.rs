//! How a test touches the rows of a server's database, past the server.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Decode, Postgres, Row as _, Sqlite, Type};

use super::{Reach, TestApp};

impl TestApp {
    /// Runs one statement on the database and expects it to change a row.
    pub(crate) async fn db_execute(&self, sql: &str) {
        let query = AssertSqlSafe(sql);
        let changed = match &self.reach {
            Reach::File(path) => sqlx::query(query).execute(&mut open_file(path).await).await.unwrap().rows_affected(),
            #[cfg(unix)]
            Reach::Server(url) => {
                let mut connection = crate::postgres::connect(url).await;
                sqlx::query(query).execute(&mut connection).await.unwrap().rows_affected()
            }
        };
        assert!(changed > 0, "{sql} changed nothing");
    }

    /// Runs statements on the database, as an operator would by hand.
    pub(crate) async fn db_run(&self, sql: &str) {
        let query = AssertSqlSafe(sql);
        match &self.reach {
            Reach::File(path) => {
                sqlx::raw_sql(query).execute(&mut open_file(path).await).await.unwrap();
            }
            #[cfg(unix)]
            Reach::Server(url) => {
                sqlx::raw_sql(query).execute(&mut crate::postgres::connect(url).await).await.unwrap();
            }
        }
    }

    /// Does something while all rows of a table are locked by others.
    pub(crate) async fn db_while_locked<T>(&self, table: &str, work: impl AsyncFnOnce() -> T) -> T {
        let lock = AssertSqlSafe(match &self.reach {
            Reach::File(_) => "BEGIN IMMEDIATE".to_owned(),
            #[cfg(unix)]
            Reach::Server(_) => format!("BEGIN; SELECT FROM {table} FOR UPDATE"),
        });
        match &self.reach {
            Reach::File(path) => {
                let mut connection = open_file(path).await;
                sqlx::raw_sql(lock).execute(&mut connection).await.unwrap();
                let done = work().await;
                sqlx::raw_sql("ROLLBACK").execute(&mut connection).await.unwrap();
                done
            }
            #[cfg(unix)]
            Reach::Server(url) => {
                let mut connection = crate::postgres::connect(url).await;
                sqlx::raw_sql(lock).execute(&mut connection).await.unwrap();
                let done = work().await;
                sqlx::raw_sql("ROLLBACK").execute(&mut connection).await.unwrap();
                done
            }
        }
    }

    /// Adds sessions that are like the only one, so that there are so many.
    pub(crate) async fn db_fill_sessions(&self, count: u32) {
        let columns = "user_id, salt, pepper_id, generation, created_at, rotated_at, keyless, idle_expires_at, absolute_expires_at";
        let (id, numbers) = match &self.reach {
            Reach::File(_) => (
                "randomblob(16)",
                format!(
                    "(WITH RECURSIVE n (n) AS (VALUES (2) UNION ALL SELECT n + 1 FROM n WHERE n < {count}) SELECT n FROM n)"
                ),
            ),
            #[cfg(unix)]
            Reach::Server(_) => ("decode(md5(n::text), 'hex')", format!("generate_series(2, {count}) AS n")),
        };
        self.db_execute(&format!(
            "INSERT INTO sessions (id, {columns}) SELECT {id}, {columns} FROM sessions, {numbers}"
        ))
        .await;
    }

    /// Returns the value of `--database` that names this database.
    pub(crate) fn database_argument(&self) -> String {
        match &self.reach {
            Reach::File(path) => format!("sqlite:{}", path.display()),
            #[cfg(unix)]
            Reach::Server(url) => url.clone(),
        }
    }

    /// Returns the one value that a query has.
    pub(crate) async fn db_value<T>(&self, sql: &str) -> T
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        let query = AssertSqlSafe(sql);
        match &self.reach {
            Reach::File(path) => sqlx::query(query).fetch_one(&mut open_file(path).await).await.unwrap().get(0),
            #[cfg(unix)]
            Reach::Server(url) => {
                let mut connection = crate::postgres::connect(url).await;
                sqlx::query(query).fetch_one(&mut connection).await.unwrap().get(0)
            }
        }
    }

    /// Returns one value of the only session's row.
    pub(crate) async fn db_session<T>(&self, column: &str) -> T
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        self.db_value(&format!("SELECT {column} FROM sessions")).await
    }

    /// Returns everything that the only session's row says, to compare it with later.
    pub(crate) async fn db_session_row(&self) -> String {
        #[cfg(unix)]
        if matches!(self.reach, Reach::Server(_)) {
            return self.db_session("sessions::text").await;
        }
        self.db_session(
            "quote(id) || quote(generation) || quote(rotated_at) || quote(keyless) || quote(attempt_1)
             || quote(attempt_2) || quote(idle_expires_at) || quote(absolute_expires_at)
             || quote(revoked_at) || quote(revoked_reason)",
        )
        .await
    }

    /// Lets the last rotation lie an hour back.
    pub(crate) async fn db_age_rotation(&self) {
        self.db_execute("UPDATE sessions SET rotated_at = rotated_at - 3600000").await;
    }
}

/// Opens the file of a database beside the server.
pub(crate) async fn open_file(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}
