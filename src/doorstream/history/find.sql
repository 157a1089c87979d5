-- Where ids stand. Told which index to use: SQLite would rather read the whole site than look up sixteen ids.
SELECT id, min(sequence)
FROM events INDEXED BY events_by_id
WHERE id IN (SELECT value FROM json_each(?)) AND site = ?
GROUP BY id;
