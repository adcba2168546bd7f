-- Failed logins. What is counted is named by a keyed digest: no name that was typed is ever here, and no address.
CREATE TABLE login_attempts (
    subject  BLOB    PRIMARY KEY,
    -- When all of its failures are forgotten: each moves this on by one step.
    empty_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX login_attempts_by_end ON login_attempts (empty_at);

-- Pairs of an account and an address that it was logged in to from.
CREATE TABLE known_addresses (
    subject     BLOB    PRIMARY KEY,
    known_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX known_addresses_by_end ON known_addresses (known_until);
