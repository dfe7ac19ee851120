-- +goose Up

-- Changes are looked for by revision alone: this index cost each write, and
-- served no query that the primary key does not.
DROP INDEX changes_key;

-- Writes of several records share a transaction from here on, and take the clock
-- before anything else. What a binary of the former version calls, for as long as
-- it runs beside this one, must do so too: record first and clock second, beside
-- clock first and record second, would be a deadlock.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION write_object(
    the_key text, new_data bytea, new_object jsonb, expected bigint, ttl_seconds bigint,
    OUT written boolean, OUT new_revision bigint, OUT current_revision bigint, OUT current_data bytea
) LANGUAGE plpgsql AS $$
DECLARE
    expiry timestamptz := CASE WHEN ttl_seconds > 0 THEN clock_timestamp() + make_interval(secs => ttl_seconds) END;
BEGIN
    written := false;
    PERFORM FROM clock FOR NO KEY UPDATE;
    SELECT revision, data INTO current_revision, current_data FROM objects WHERE key = the_key;
    IF NOT FOUND THEN
        current_revision := 0;
    END IF;
    IF current_revision <> expected THEN
        RETURN;
    END IF;

    UPDATE clock SET revision = revision + 1 RETURNING revision INTO new_revision;
    IF expected = 0 THEN
        INSERT INTO objects (key, revision, expires_at, object, data)
        VALUES (the_key, new_revision, expiry, new_object, new_data);
    ELSIF new_data IS NULL THEN
        DELETE FROM objects WHERE key = the_key;
    ELSE
        UPDATE objects SET revision = new_revision, expires_at = expiry, object = new_object, data = new_data
        WHERE key = the_key;
    END IF;
    INSERT INTO changes (revision, key, data, previous_revision, previous)
    VALUES (new_revision, the_key, new_data, current_revision, current_data);
    PERFORM pg_notify('changes', new_revision::text);
    written := true;
END $$;
-- +goose StatementEnd

-- +goose Down
CREATE INDEX changes_key ON changes (key, revision);
