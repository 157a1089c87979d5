-- The attempts of one message become the states of their deliveries, unless a later one has done so already.
-- One statement for all of them: SQLite reads the message itself, without holding Python's interpreter lock.
INSERT INTO deliveries (webhook, delivery, first, last, epoch, sequence, event, site, topic, message, device, line, replay,
                        test, state, number, created, at, next, status, error)
SELECT ?1, value ->> 'delivery', ?2 + key, ?2 + key, value ->> 'epoch', value ->> 'sequence', value ->> 'event',
       value ->> 'site', value ->> 'topic', value ->> 'message', value ->> 'device', value ->> 'line', value ->> 'replay',
       coalesce(value ->> 'test', 0), value ->> 'state', coalesce(value ->> 'number', 1), value ->> 'at', value ->> 'at',
       value ->> 'next', value ->> 'status', value ->> 'error'
FROM json_each(?3)
WHERE true
ON CONFLICT (webhook, delivery) DO UPDATE
SET last = excluded.last, state = excluded.state, number = excluded.number, at = excluded.at, next = excluded.next,
    status = excluded.status, error = excluded.error
WHERE excluded.number >= number
