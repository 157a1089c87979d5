-- A due of an attempt that was made already is none.
INSERT OR IGNORE INTO dues (stored, webhook, delivery, number, content)
SELECT ?1, ?2, ?3, ?4, ?5
WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE webhook = ?2 AND delivery = ?3 AND number >= ?4)
