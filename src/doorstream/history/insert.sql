-- Followed by VALUES and as many rows as fit the batch. What is there already was applied before a restart.
INSERT OR IGNORE INTO events (sequence, site, id, topic, occurred, recorded, created, unlock, device, holder, json)
