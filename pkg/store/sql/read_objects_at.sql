-- The objects at a revision: what is there now, with each key that changed since
-- put back to what its first change after the revision replaced. Each half is
-- limited by itself, so a page costs as much as it holds, and what changed since.
SELECT key, revision, data FROM (
    (SELECT key, revision, data FROM objects
     WHERE key >= $1 AND key < $2 AND revision <= $4 ORDER BY key LIMIT $3)
    UNION ALL
    (SELECT key, previous_revision, previous FROM (
        SELECT DISTINCT ON (key) key, previous_revision, previous FROM changes
        WHERE key >= $1 AND key < $2 AND revision > $4 ORDER BY key, revision
     ) undone WHERE previous IS NOT NULL ORDER BY key LIMIT $3)
) state ORDER BY key LIMIT $3
