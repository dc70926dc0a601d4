-- Version 2: how many bodies of a room were redacted, so that whoever keeps copies finds out that some are old.

ALTER TABLE rooms ADD COLUMN redactions INTEGER NOT NULL DEFAULT 0;

-- A trigger, so that a redaction stays one statement, which is its own transaction. Erasing takes the name as well, and does not count.
CREATE TRIGGER entries_redacted AFTER UPDATE OF text ON entries
WHEN OLD.text IS NOT NULL AND NEW.text IS NULL AND NEW.name IS NOT NULL
BEGIN
    UPDATE rooms SET redactions = redactions + 1 WHERE id = NEW.room;
END;
