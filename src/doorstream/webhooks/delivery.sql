-- Attempts become the states of their deliveries, unless a later one has done so already. Many rows at once: SQLite
-- then works for a while without holding Python's interpreter lock.
INSERT INTO deliveries (webhook, delivery, first, last, epoch, sequence, event, site, topic, message, device, line, replay,
                        test, state, number, created, at, next, status, error)
VALUES {rows}
ON CONFLICT (webhook, delivery) DO UPDATE
SET last = excluded.last, state = excluded.state, number = excluded.number, at = excluded.at, next = excluded.next,
    status = excluded.status, error = excluded.error
WHERE excluded.number >= number
