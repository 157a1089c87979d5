-- For each cloud node the last word on whether it is online; events may come late, so it is the last that occurred.
SELECT sequence, recorded, json, max(occurred)
FROM events INDEXED BY events_of_status
WHERE topic IN ('cloudnode.connected', 'cloudnode.disconnected')
GROUP BY site, json_extract(json, '$.body.serialNumber');
