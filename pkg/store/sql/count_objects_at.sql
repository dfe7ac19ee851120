-- How many objects read_objects_at.sql finds.
SELECT (
    SELECT count(*) FROM objects WHERE key >= $1 AND key < $2 AND revision <= $3
) + (
    SELECT count(*) FROM (
        SELECT DISTINCT ON (key) previous_revision FROM changes
        WHERE key >= $1 AND key < $2 AND revision > $3 ORDER BY key, revision
    ) undone WHERE previous_revision > 0
)
