-- One statement for a whole batch: SQLite works through it without holding Python's interpreter lock.
INSERT OR IGNORE INTO events (sequence, site, id, topic, occurred, recorded, device, holder, json)
SELECT
    json_extract(value, '$[0]'),
    json_extract(value, '$[1]'),
    json_extract(value, '$[2]'),
    json_extract(value, '$[3]'),
    json_extract(value, '$[4]'),
    json_extract(value, '$[5]'),
    json_extract(value, '$[6]'),
    json_extract(value, '$[7]'),
    json_extract(value, '$[8]')
FROM json_each(?);
