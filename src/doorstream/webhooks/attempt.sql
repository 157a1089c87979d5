-- The attempts of one message; an event that is held back is none.
INSERT OR REPLACE INTO attempts (webhook, delivery, number, place, at, state, status, error, duration, answer, next)
SELECT ?1, value ->> 'delivery', coalesce(value ->> 'number', 1), ?2 + key, value ->> 'at', value ->> 'state',
       value ->> 'status', value ->> 'error', coalesce(value ->> 'duration', 0), coalesce(value ->> 'answer', ''),
       value ->> 'next'
FROM json_each(?3)
WHERE coalesce(value ->> 'number', 1) > 0
