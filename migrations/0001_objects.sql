-- +goose Up

-- The clock gives out revisions. A writer takes the row inside its transaction
-- and holds it until the commit: revisions rise in the order of the commits, and
-- who has seen revision R has seen all that is older.
CREATE TABLE clock (
    one_row   boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    revision  bigint  NOT NULL,
    compacted bigint  NOT NULL
) WITH (fillfactor = 10);

INSERT INTO clock (revision, compacted) VALUES (1, 0);

-- One row a record. data is what the API server wrote, byte for byte; object is
-- the same for people, and NULL where jsonb cannot hold it (a NUL in a string, an
-- encrypted value).
CREATE TABLE objects (
    key        text        COLLATE "C" PRIMARY KEY,
    resource   text        NOT NULL GENERATED ALWAYS AS (split_part(key, '/', 2)) STORED,
    namespace  text        GENERATED ALWAYS AS (object #>> '{metadata,namespace}') STORED,
    name       text        GENERATED ALWAYS AS (object #>> '{metadata,name}') STORED,
    uid        text        GENERATED ALWAYS AS (object #>> '{metadata,uid}') STORED,
    revision   bigint      NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    object     jsonb,
    data       bytea       NOT NULL
) WITH (fillfactor = 80);

CREATE INDEX objects_expires_at ON objects (expires_at) WHERE expires_at IS NOT NULL;

-- The log that watchers and lists at an older revision are served from. It can
-- undo: the state at revision R is objects, with each key that changed since put
-- back to previous of its first change after R. So it may be cut at any revision.
CREATE TABLE changes (
    revision          bigint      PRIMARY KEY,
    key               text        COLLATE "C" NOT NULL,
    data              bytea,
    previous_revision bigint      NOT NULL,
    previous          bytea,
    at                timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX changes_key ON changes (key, revision);

-- write_object creates (expected = 0), updates or deletes (new_data IS NULL) the
-- object at a key, if its revision is the expected one. If it is not, it says
-- what is there instead.
-- +goose StatementBegin
CREATE FUNCTION write_object(
    the_key text, new_data bytea, new_object jsonb, expected bigint, ttl_seconds bigint,
    OUT written boolean, OUT new_revision bigint, OUT current_revision bigint, OUT current_data bytea
) LANGUAGE plpgsql AS $$
DECLARE
    expiry timestamptz := CASE WHEN ttl_seconds > 0 THEN clock_timestamp() + make_interval(secs => ttl_seconds) END;
BEGIN
    written := false;
    SELECT revision, data INTO current_revision, current_data FROM objects WHERE key = the_key FOR UPDATE;
    IF NOT FOUND THEN
        current_revision := 0;
    END IF;
    IF current_revision <> expected THEN
        RETURN;
    END IF;

    UPDATE clock SET revision = revision + 1 RETURNING revision INTO new_revision;
    IF expected = 0 THEN
        INSERT INTO objects (key, revision, expires_at, object, data)
        VALUES (the_key, new_revision, expiry, new_object, new_data)
        ON CONFLICT (key) DO NOTHING;
        IF NOT FOUND THEN -- somebody else created it while we waited for the clock
            SELECT revision, data INTO current_revision, current_data FROM objects WHERE key = the_key;
            RETURN;
        END IF;
    ELSIF new_data IS NULL THEN
        DELETE FROM objects WHERE key = the_key;
    ELSE
        UPDATE objects SET revision = new_revision, expires_at = expiry, object = new_object, data = new_data
        WHERE key = the_key;
    END IF;
    INSERT INTO changes (revision, key, data, previous_revision, previous)
    VALUES (new_revision, the_key, new_data, current_revision, current_data);
    PERFORM pg_notify('changes', '');
    written := true;
END $$;
-- +goose StatementEnd

-- The records, for people with psql.
CREATE VIEW runtime_records AS
SELECT namespace,
       name,
       object #>> '{spec,state}'   AS state,
       object #>> '{status,phase}' AS phase,
       jsonb_path_query_first(object, '$.status.conditions[*] ? (@.type == "Ready").status') #>> '{}' AS ready,
       object #>> '{spec,image}'   AS image,
       (object #>> '{status,restarts}')::integer AS restarts,
       object #>> '{status,container,name}' AS container,
       created_at,
       revision
FROM objects
WHERE resource = 'gameruntimes.runtime.galaxy.io';

-- +goose Down
DROP VIEW runtime_records;
DROP FUNCTION write_object;
DROP TABLE changes;
DROP TABLE objects;
DROP TABLE clock;
