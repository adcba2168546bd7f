//! What PostgreSQL's errors mean to us, told by their SQLSTATE:
//! <https://www.postgresql.org/docs/current/errcodes-appendix.html>.

use std::borrow::Cow;

use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgDatabaseError;

use crate::ports::StoreError;

/// A lock was not to be had in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// What is left to do after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The connection is of no use any more, and whether the statement was committed is unknown.
    Lost,
    /// The statement was rolled back, because others were in its way.
    Conflict,
    /// The database is there but cannot serve us just now.
    Busy,
    /// It answered something that it should not.
    Other,
}

/// Tells what is left to do after an error.
pub(super) fn trouble(error: &sqlx::Error) -> Trouble {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            Trouble::Lost
        }
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Trouble::Busy,
        sqlx::Error::Database(error) => error.code().map_or(Trouble::Other, |code: Cow<'_, str>| of_state(&code)),
        _ => Trouble::Other,
    }
}

fn of_state(code: &str) -> Trouble {
    match code {
        // Administrator's shutdown, crash, starting up, database dropped, idle session ended; a standby after a failover:
        // this connection will not get better.
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "25006" => Trouble::Lost,
        // Serialization failure, deadlock.
        "40001" | "40P01" => Trouble::Conflict,
        // Cancelled by a timeout of ours; a lock not to be had in time; a database that takes no connections just now.
        "57014" | LOCK_NOT_AVAILABLE | "55000" => Trouble::Busy,
        code => match code.get(..2) {
            // A connection that failed; a transaction whose end is unknown.
            Some("08" | "40") => Trouble::Lost,
            // Too many connections, a full disk, no memory; a failing disk. And where our name, our password or our database
            // is not there (any more): it can be put back, and nobody's token is bad meanwhile.
            Some("53" | "58" | "28" | "3D") => Trouble::Busy,
            _ => Trouble::Other,
        },
    }
}

/// Whether others are in the way: cancelled by a bound of ours, a lock that was not to be had, a deadlock, too many
/// connections.
pub(in crate::store) fn is_in_use(error: &PgDatabaseError) -> bool {
    matches!(error.code(), "57014" | LOCK_NOT_AVAILABLE | "40P01" | "53300")
}

/// Whether a migration did not get a lock in time.
pub(in crate::store) fn is_lock_timeout(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else { return false };
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == LOCK_NOT_AVAILABLE)
}

/// Tells a database that is away or busy from one that answers nonsense.
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    match trouble(&error) {
        Trouble::Lost | Trouble::Conflict | Trouble::Busy => StoreError::Unavailable(Box::new(error)),
        Trouble::Other => StoreError::Unexpected(Box::new(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_goes_away_is_told_from_one_that_is_wrong() {
        let table = [
            ("57P01", Trouble::Lost),
            ("57P03", Trouble::Lost),
            ("08006", Trouble::Lost),
            ("40003", Trouble::Lost),
            ("25006", Trouble::Lost),
            ("40001", Trouble::Conflict),
            ("40P01", Trouble::Conflict),
            ("53300", Trouble::Busy),
            ("53100", Trouble::Busy),
            ("57014", Trouble::Busy),
            ("55P03", Trouble::Busy),
            ("58030", Trouble::Busy),
            ("28P01", Trouble::Busy),
            ("3D000", Trouble::Busy),
            ("55000", Trouble::Busy),
            ("42P01", Trouble::Other),
            ("23505", Trouble::Other),
            ("XX000", Trouble::Other),
            ("", Trouble::Other),
            ("é", Trouble::Other),
        ];
        for (code, expected) in table {
            assert_eq!(of_state(code), expected, "{code}");
        }
    }

    #[test]
    fn what_may_come_back_is_unavailable() {
        let broken = || sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert!(matches!(store_error(broken()), StoreError::Unavailable(_)));
        assert!(matches!(store_error(sqlx::Error::Protocol("nonsense".to_owned())), StoreError::Unavailable(_)));
        assert!(matches!(store_error(sqlx::Error::PoolTimedOut), StoreError::Unavailable(_)));
        assert!(matches!(store_error(sqlx::Error::RowNotFound), StoreError::Unexpected(_)));
    }
}
