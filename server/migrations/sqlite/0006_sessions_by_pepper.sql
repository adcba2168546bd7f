-- Each start asks whether an older pepper is still needed. No refresh writes that column.
CREATE INDEX sessions_by_pepper ON sessions (pepper_id);
