-- The last events of one door, and before them the last of each topic that says what it is now: its lock, its leaf, its
-- modes and alarms. Events may come late, so of the latter it is the last that occurred. They are rare, or never were, so
-- that without an index of their own finding them would read all of the door's past.
WITH topics (name) AS (VALUES
    ('device.input.relay.on'), ('device.input.relay.off'), ('device.input.dps.opened'), ('device.input.dps.closed'),
    ('device.autoopen.on'), ('device.autoopen.off'), ('device.forceopen.on'), ('device.forceopen.off'),
    ('device.forceclose.on'), ('device.forceclose.off'), ('device.alarm.forced'), ('device.alarm.forced.cleared'),
    ('device.alarm.propped.on'), ('device.alarm.propped.off'), ('device.alarm.propped.alloff'), ('device.alarm.tamper.on'),
    ('device.alarm.tamper.off')
)
SELECT sequence, recorded, json FROM (
    SELECT sequence, recorded, json FROM events INDEXED BY events_by_device
    WHERE device = :device AND site = :site AND topic >= 'device.' AND topic < 'device/'
    ORDER BY sequence DESC LIMIT :limit
)
UNION
SELECT sequence, recorded, json FROM events
WHERE sequence IN (
    SELECT (
        SELECT sequence FROM events INDEXED BY states_of_doors
        WHERE device = :device AND site = :site AND topic = name AND topic IN (
            'device.input.relay.on', 'device.input.relay.off', 'device.input.dps.opened', 'device.input.dps.closed',
            'device.autoopen.on', 'device.autoopen.off', 'device.forceopen.on', 'device.forceopen.off',
            'device.forceclose.on', 'device.forceclose.off', 'device.alarm.forced', 'device.alarm.forced.cleared',
            'device.alarm.propped.on', 'device.alarm.propped.off', 'device.alarm.propped.alloff',
            'device.alarm.tamper.on', 'device.alarm.tamper.off'
        )
        ORDER BY occurred DESC, sequence DESC LIMIT 1
    ) FROM topics
)
ORDER BY sequence;
