-- The ledger is derived from the stream of webhooks: it may be deleted at any time and is then built again.
CREATE TABLE IF NOT EXISTS progress (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    epoch    TEXT    NOT NULL, -- of the stream that this ledger was made from
    applied  INTEGER NOT NULL  -- the last sequence that is in here
);

CREATE TABLE IF NOT EXISTS deliveries (
    webhook  TEXT    NOT NULL,
    delivery TEXT    NOT NULL,
    first    INTEGER NOT NULL, -- the place of its first record: the sequence in the stream times 1,000 and its number
    last     INTEGER NOT NULL, -- … and of its last
    epoch    TEXT    NOT NULL, -- the event's place in the log: the log's epoch …
    sequence INTEGER NOT NULL, -- … and the sequence there
    event    TEXT    NOT NULL,
    site     TEXT    NOT NULL,
    topic    TEXT    NOT NULL,
    message  TEXT    NOT NULL,
    device   TEXT,
    line     TEXT,
    replay   TEXT,
    test     INTEGER NOT NULL,
    state    TEXT    NOT NULL,
    number   INTEGER NOT NULL, -- of the last attempt
    created  INTEGER NOT NULL, -- milliseconds since 1970 UTC
    at       INTEGER NOT NULL, -- of the last attempt
    next     INTEGER,
    status   INTEGER,
    error    TEXT,
    PRIMARY KEY (webhook, delivery)
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS deliveries_by_first ON deliveries (webhook, first);
CREATE INDEX IF NOT EXISTS deliveries_by_place ON deliveries (webhook, epoch, sequence);
CREATE INDEX IF NOT EXISTS deliveries_by_last  ON deliveries (last);
CREATE INDEX IF NOT EXISTS deliveries_open     ON deliveries (webhook, line, sequence) WHERE state IN ('waiting', 'held');
CREATE INDEX IF NOT EXISTS deliveries_dead     ON deliveries (webhook, first) WHERE state = 'dead';

CREATE TABLE IF NOT EXISTS attempts (
    webhook  TEXT    NOT NULL,
    delivery TEXT    NOT NULL,
    number   INTEGER NOT NULL,
    place    INTEGER NOT NULL, -- as deliveries.first
    at       INTEGER NOT NULL,
    state    TEXT    NOT NULL,
    status   INTEGER,
    error    TEXT,
    duration INTEGER NOT NULL, -- milliseconds
    answer   TEXT    NOT NULL,
    next     INTEGER,
    PRIMARY KEY (webhook, delivery, number)
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS attempts_by_place ON attempts (place);

-- What fell due and is not attempted yet.
CREATE TABLE IF NOT EXISTS dues (
    stored   INTEGER PRIMARY KEY,
    webhook  TEXT    NOT NULL,
    delivery TEXT    NOT NULL,
    number   INTEGER NOT NULL,
    content  BLOB    NOT NULL
);

CREATE INDEX IF NOT EXISTS dues_by_webhook  ON dues (webhook, stored);
CREATE INDEX IF NOT EXISTS dues_by_delivery ON dues (webhook, delivery);

CREATE TABLE IF NOT EXISTS cursors (
    webhook  TEXT PRIMARY KEY,
    epoch    TEXT    NOT NULL,
    sequence INTEGER NOT NULL
);

-- How long each webhook has been failing; kept up because attempts are pruned.
CREATE TABLE IF NOT EXISTS health (
    webhook  TEXT PRIMARY KEY,
    failures INTEGER NOT NULL, -- in a row
    since    INTEGER,          -- the first of them, milliseconds since 1970 UTC
    last     INTEGER           -- the last of them
);
