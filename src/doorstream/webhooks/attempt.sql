-- The attempts themselves.
INSERT OR REPLACE INTO attempts (webhook, delivery, number, place, at, state, status, error, duration, answer, next)
VALUES {rows}
