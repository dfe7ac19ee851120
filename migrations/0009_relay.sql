-- +goose Up

-- What waits is read stream by stream, so that one that cannot be written to holds
-- up none of the others. published_at is the time of the stream's entry, by Redis's
-- clock: what Redis lost is found by it, and the rest goes by it.
DROP INDEX outbox_waiting;
CREATE INDEX outbox_waiting ON outbox (stream, seq) WHERE published_at IS NULL;
CREATE INDEX outbox_published_at ON outbox (published_at) INCLUDE (stream) WHERE published_at IS NOT NULL;

-- Whoever writes to the outbox, and from whichever process, wakes the one that
-- publishes when that is committed.
-- +goose StatementBegin
CREATE FUNCTION announce_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('outbox', '');
    RETURN NULL;
END $$;
-- +goose StatementEnd

CREATE TRIGGER announce_outbox AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION announce_outbox();

-- +goose Down
DROP TRIGGER announce_outbox ON outbox;
DROP FUNCTION announce_outbox();
DROP INDEX outbox_published_at;
DROP INDEX outbox_waiting;
CREATE INDEX outbox_waiting ON outbox (seq) WHERE published_at IS NULL;
