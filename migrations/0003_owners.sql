-- +goose Up

-- What garbage collection asks of a row: the uids of its owners, and the finalizers
-- that hold it for its dependents; "unknown" where object cannot tell. Most rows have
-- none of it, and cost the index nothing. It is a column because an index on an
-- expression over object would end heap-only updates, for every row.
ALTER TABLE objects ADD COLUMN ownership jsonb GENERATED ALWAYS AS (
    CASE WHEN object IS NULL THEN '["unknown"]'::jsonb
    ELSE nullif(
        jsonb_path_query_array(object, '$.metadata.ownerReferences[*].uid')
        || jsonb_path_query_array(object, '$.metadata.finalizers[*] ? (@ == "orphan" || @ == "foregroundDeletion")'),
        '[]'::jsonb)
    END
) STORED;

CREATE INDEX objects_ownership ON objects USING gin (ownership) WITH (fastupdate = off) WHERE ownership IS NOT NULL;

-- Whether an owner is there is asked by its uid alone.
CREATE INDEX objects_uid ON objects USING hash (uid);

-- +goose Down
DROP INDEX objects_uid;
DROP INDEX objects_ownership;
ALTER TABLE objects DROP COLUMN ownership;
