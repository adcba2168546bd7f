-- The key under which failed logins are counted, sealed under the pepper of this row: it stays the same when the pepper is
-- replaced. None where it is derived from that pepper itself, the first one.
ALTER TABLE peppers ADD COLUMN throttle_key BYTEA;
