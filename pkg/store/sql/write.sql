-- Creates (expected = 0), updates or deletes (data IS NULL) the objects at some
-- keys, each if its revision is the expected one, and says which it did. No key
-- is there twice. The transaction holds the clock already.
WITH wish AS (
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::boolean[], $4::bigint[], $5::bigint[])
    WITH ORDINALITY AS w (key, data, readable, expected, ttl, place)
), granted AS (
    SELECT w.key, w.data, w.expected, w.place, o.data AS previous,
           c.revision + row_number() OVER (ORDER BY w.place) AS revision,
           CASE WHEN w.readable THEN convert_from(w.data, 'UTF8')::jsonb END AS object,
           CASE WHEN w.ttl > 0 THEN clock_timestamp() + make_interval(secs => w.ttl) END AS expires_at
    FROM clock c CROSS JOIN wish w LEFT JOIN objects o ON o.key = w.key
    WHERE c.one_row AND w.expected = coalesce(o.revision, 0) AND (w.data IS NOT NULL OR w.expected > 0)
), created AS (
    INSERT INTO objects (key, revision, expires_at, object, data)
    SELECT key, revision, expires_at, object, data FROM granted WHERE expected = 0
), updated AS (
    UPDATE objects o SET revision = g.revision, expires_at = g.expires_at, object = g.object, data = g.data
    FROM granted g WHERE o.key = g.key AND g.expected > 0 AND g.data IS NOT NULL
), deleted AS (
    DELETE FROM objects o USING granted g WHERE o.key = g.key AND g.data IS NULL
), logged AS (
    INSERT INTO changes (revision, key, data, previous_revision, previous)
    SELECT revision, key, data, expected, previous FROM granted
), ticked AS (
    UPDATE clock SET revision = newest.revision
    FROM (SELECT max(revision) AS revision FROM granted HAVING count(*) > 0) newest
    WHERE clock.one_row
    RETURNING pg_notify('changes', clock.revision::text)
)
SELECT place, revision FROM granted
