-- Version 1. Text is UTF-8; times are milliseconds since the Unix epoch; epochs and fingerprints are below 2^48.

-- What names this store for its whole life: 16 random bytes.
CREATE TABLE store (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    identity BLOB NOT NULL
) STRICT;

-- A room exists from its first entry on. Everything up to `trimmed` is forgotten: no read shows it. `erased` follows behind, in the
-- background: up to there nothing but keys is left of the entries.
CREATE TABLE rooms (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    epoch INTEGER NOT NULL,
    trimmed INTEGER NOT NULL DEFAULT 0,
    trimmed_fingerprint INTEGER NOT NULL DEFAULT 0,
    erased INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX rooms_to_erase ON rooms (id) WHERE erased < trimmed;

-- One row for each entry. `text` and `attachments` are NULL once it was redacted; `name` is NULL, too, once it was forgotten and only its
-- key is remembered. Rows are only ever added at the end of the table, so that their content is never copied to another page when pages
-- are split: a copy would survive a redaction.
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    room INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    author TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint INTEGER NOT NULL,
    name TEXT,
    text TEXT,
    attachments BLOB
) STRICT;

CREATE UNIQUE INDEX entries_by_offset ON entries (room, offset);
CREATE UNIQUE INDEX entries_by_key ON entries (room, author, key);
CREATE INDEX entries_forgotten ON entries (at) WHERE name IS NULL;

-- How far each reader has come: `what` is 0 for received, 1 for read.
CREATE TABLE progress (
    who TEXT NOT NULL,
    what INTEGER NOT NULL,
    room TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    PRIMARY KEY (who, what, room)
) STRICT, WITHOUT ROWID;
