-- Times are milliseconds since 1970 by the database's own clock.

-- AUTOINCREMENT: the id of a removed user is never given to another, so an old access token cannot name a stranger.
CREATE TABLE users (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT    NOT NULL UNIQUE,
    password_hash TEXT    NOT NULL,
    -- Counts password changes and disablings; a login counts only if the epoch it verified still stands.
    epoch         INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL,
    disabled_at   INTEGER
) STRICT;

-- What recognises the pepper, never the pepper: that one lies in a file or in the environment.
CREATE TABLE peppers (
    id          INTEGER PRIMARY KEY,
    check_value BLOB    NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE signing_keys (
    kid        TEXT    PRIMARY KEY,
    algorithm  TEXT    NOT NULL,
    -- The private key, sealed under a key derived from the pepper.
    sealed     BLOB    NOT NULL,
    pepper_id  INTEGER NOT NULL REFERENCES peppers (id),
    created_at INTEGER NOT NULL
) STRICT;

-- One row a login, however often it is refreshed. Nothing of any token is in it: a refresh token is derived from the
-- pepper, the salt, the id and the generation.
CREATE TABLE sessions (
    id                  BLOB    PRIMARY KEY CHECK (length(id) = 16),
    user_id             INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    salt                BLOB    NOT NULL,
    pepper_id           INTEGER NOT NULL REFERENCES peppers (id),
    generation          INTEGER NOT NULL,
    created_at          INTEGER NOT NULL,
    rotated_at          INTEGER NOT NULL,
    -- 1 when the last rotation was asked for without an Idempotency-Key.
    keyless             INTEGER NOT NULL,
    -- Keyed hashes of the attempt keys of the last four rotations, the latest first.
    attempt_1           BLOB,
    attempt_2           BLOB,
    attempt_3           BLOB,
    attempt_4           BLOB,
    idle_expires_at     INTEGER NOT NULL,
    absolute_expires_at INTEGER NOT NULL,
    revoked_at          INTEGER,
    revoked_reason      TEXT
) STRICT, WITHOUT ROWID;

-- No index on a column that a refresh writes: it would be rewritten with each of them.
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_end ON sessions (absolute_expires_at);
