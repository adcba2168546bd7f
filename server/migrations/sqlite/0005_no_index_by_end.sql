-- No query looks sessions up by their end: the sweep walks through them by id.
DROP INDEX sessions_by_end;
