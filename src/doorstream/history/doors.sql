-- The last events of one door, and before them the last of each kind that says what it is now: its lock, its leaf, its
-- modes and alarms. The latter are rare, so that without an index of their own finding them would read all of its past.
SELECT sequence, recorded, json FROM (
    SELECT sequence, recorded, json FROM events INDEXED BY events_by_device
    WHERE device = :device AND site = :site AND topic >= 'device.' AND topic < 'device/'
    ORDER BY sequence DESC LIMIT :limit
)
UNION
SELECT sequence, recorded, json FROM (
    SELECT sequence, recorded, json FROM events INDEXED BY events_by_device
    WHERE device = :device AND site = :site AND topic IN ('device.input.relay.on', 'device.input.relay.off')
    ORDER BY sequence DESC LIMIT 1
)
UNION
SELECT sequence, recorded, json FROM (
    SELECT sequence, recorded, json FROM events INDEXED BY events_by_device
    WHERE device = :device AND site = :site AND topic IN ('device.input.dps.opened', 'device.input.dps.closed')
    ORDER BY sequence DESC LIMIT 1
)
UNION
SELECT sequence, recorded, json FROM (
    SELECT max(sequence) AS sequence, recorded, json FROM events INDEXED BY events_of_doors
    WHERE device = :device AND site = :site AND topic IN (
        'device.autoopen.on', 'device.autoopen.off', 'device.forceopen.on', 'device.forceopen.off',
        'device.forceclose.on', 'device.forceclose.off', 'device.alarm.forced', 'device.alarm.forced.cleared',
        'device.alarm.propped.on', 'device.alarm.propped.off', 'device.alarm.propped.alloff',
        'device.alarm.tamper.on', 'device.alarm.tamper.off'
    )
    GROUP BY topic
)
ORDER BY sequence;
