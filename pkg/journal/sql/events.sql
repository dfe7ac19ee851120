-- Writes health events and, for those that are new, what others are to be told.
WITH told AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
                         $7::text[], $8::text[], $9::text[], $10::text[])
    WITH ORDINALITY AS t (id, namespace, game, uid, type, at, container, operation, details, payload, place)
), fresh AS MATERIALIZED (
    SELECT * FROM told WHERE NOT EXISTS (SELECT FROM health_events e WHERE e.id = told.id)
), kept AS (
    INSERT INTO health_events (id, namespace, game, uid, type, at, container, operation, details)
    SELECT id, namespace, game, uid, type, at, container, operation, details::jsonb FROM fresh
    ON CONFLICT (id) DO NOTHING
)
INSERT INTO outbox (id, stream, game, payload)
SELECT id, 'runtime:health_events', namespace || '/' || game, payload::jsonb FROM fresh ORDER BY place
ON CONFLICT (id) DO NOTHING
