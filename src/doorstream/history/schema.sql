-- The index is derived from the log: it may be deleted at any time and is then built again.
CREATE TABLE IF NOT EXISTS progress (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    epoch    TEXT    NOT NULL, -- of the log that this index was made from
    applied  INTEGER NOT NULL, -- the last sequence that is in here
    latest   INTEGER NOT NULL  -- the largest recorded of all that was applied
);

CREATE TABLE IF NOT EXISTS events (
    sequence INTEGER PRIMARY KEY,
    site     TEXT    NOT NULL,
    id       TEXT    NOT NULL,
    topic    TEXT    NOT NULL,
    occurred INTEGER NOT NULL, -- milliseconds since 1970 UTC
    recorded INTEGER NOT NULL, -- milliseconds since 1970 UTC
    created  INTEGER NOT NULL, -- the largest recorded up to here: never decreases, even when the clock was set back
    unlock   INTEGER,          -- 1 where a door was unlocked for somebody, else null
    device   TEXT,
    holder   TEXT,
    json     TEXT    NOT NULL  -- the event as kept in the log
);

CREATE INDEX IF NOT EXISTS events_by_id       ON events (id);
CREATE INDEX IF NOT EXISTS events_by_site     ON events (site, sequence);
CREATE INDEX IF NOT EXISTS events_by_device   ON events (device, sequence) WHERE device IS NOT NULL;
CREATE INDEX IF NOT EXISTS events_by_holder   ON events (holder, sequence) WHERE holder IS NOT NULL;
CREATE INDEX IF NOT EXISTS events_of_status   ON events (site, sequence)
    WHERE topic IN ('cloudnode.connected', 'cloudnode.disconnected');
CREATE INDEX IF NOT EXISTS events_by_occurred ON events (site, occurred);
CREATE INDEX IF NOT EXISTS events_unlocked    ON events (site, created, id, unlock) WHERE unlock = 1;
DROP INDEX IF EXISTS events_of_doors; -- of an earlier version
CREATE INDEX IF NOT EXISTS states_of_doors    ON events (device, site, topic, occurred, sequence)
    WHERE topic IN (
        'device.input.relay.on', 'device.input.relay.off', 'device.input.dps.opened', 'device.input.dps.closed',
        'device.autoopen.on', 'device.autoopen.off', 'device.forceopen.on', 'device.forceopen.off',
        'device.forceclose.on', 'device.forceclose.off', 'device.alarm.forced', 'device.alarm.forced.cleared',
        'device.alarm.propped.on', 'device.alarm.propped.off', 'device.alarm.propped.alloff',
        'device.alarm.tamper.on', 'device.alarm.tamper.off'
    );
