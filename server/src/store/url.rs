//! Which database: `sqlite:PATH`.

use std::path::PathBuf;

/// A database that can be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file.
    Sqlite(PathBuf),
}

/// Why a text names no database. It is not repeated here: a URL may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDatabaseUrl {
    /// A database that is to come.
    #[error("PostgreSQL is not supported by this build yet")]
    PostgresUnsupported,
    /// No scheme that we know.
    #[error("a database is given as `sqlite:PATH`")]
    UnknownScheme,
    /// Nothing after `sqlite:`, or nothing that lasts.
    #[error("`sqlite:` needs the path of a file")]
    NoPath,
}

impl DatabaseUrl {
    /// Reads `sqlite:PATH` or `sqlite://PATH`.
    pub fn parse(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        if text.starts_with("postgres:") || text.starts_with("postgresql:") {
            return Err(InvalidDatabaseUrl::PostgresUnsupported);
        }
        let path = text.strip_prefix("sqlite:").ok_or(InvalidDatabaseUrl::UnknownScheme)?;
        let path = path.strip_prefix("//").unwrap_or(path);
        // SQLite reads what begins with `file:` as a URI, which may name a database in memory.
        if path.is_empty() || path.starts_with(':') || path.starts_with("file:") {
            return Err(InvalidDatabaseUrl::NoPath);
        }
        Ok(Self::Sqlite(PathBuf::from(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_be_relative_or_absolute() {
        let sqlite = |path: &str| Ok(DatabaseUrl::Sqlite(PathBuf::from(path)));
        assert_eq!(DatabaseUrl::parse("sqlite:a.db"), sqlite("a.db"));
        assert_eq!(DatabaseUrl::parse("sqlite:/v/a.db"), sqlite("/v/a.db"));
        assert_eq!(DatabaseUrl::parse("sqlite:///v/a.db"), sqlite("/v/a.db"));
    }

    #[test]
    fn the_rest_is_refused_with_its_reason() {
        let refused = |text: &str| DatabaseUrl::parse(text).unwrap_err();
        assert_eq!(refused("postgres://u:p@h/d"), InvalidDatabaseUrl::PostgresUnsupported);
        assert_eq!(refused("postgresql://h/d"), InvalidDatabaseUrl::PostgresUnsupported);
        assert_eq!(refused("a.db"), InvalidDatabaseUrl::UnknownScheme);
        assert_eq!(refused("sqlite:"), InvalidDatabaseUrl::NoPath);
        assert_eq!(refused("sqlite::memory:"), InvalidDatabaseUrl::NoPath);
        assert_eq!(refused("sqlite:file:x.db?mode=memory"), InvalidDatabaseUrl::NoPath);
    }
}
