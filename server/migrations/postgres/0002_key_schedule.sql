-- When a key signs its first token: it is published before that. A key that was there before signs at once.
ALTER TABLE signing_keys ADD COLUMN signs_from BIGINT NOT NULL DEFAULT 0;
UPDATE signing_keys SET signs_from = created_at;

-- The longest life of the access tokens that it signs, in milliseconds: each server raises it to its own before it signs.
-- A key that was there before may have signed with the default one.
ALTER TABLE signing_keys ADD COLUMN longest_life BIGINT NOT NULL DEFAULT 900000;
