-- Writes health events and, for those that are new, what others are to be told:
-- services of the event, and people of it where that concerns them.
WITH told AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
                         $7::text[], $8::text[], $9::text[], $10::text[], $11::uuid[], $12::text[])
    WITH ORDINALITY AS t (id, namespace, game, uid, type, at, container, operation, details, payload, notification_id, notification, place)
), fresh AS MATERIALIZED (
    SELECT * FROM told WHERE NOT EXISTS (SELECT FROM health_events e WHERE e.id = told.id)
), kept AS (
    INSERT INTO health_events (id, namespace, game, uid, type, at, container, operation, details)
    SELECT id, namespace, game, uid, type, at, container, operation, details::jsonb FROM fresh
    ON CONFLICT (id) DO NOTHING
)
INSERT INTO outbox (id, stream, game, payload)
SELECT m.id, m.stream, namespace || '/' || game, m.payload::jsonb
FROM fresh, LATERAL (
    VALUES (fresh.id, 'runtime:health_events', fresh.payload),
           (notification_id, 'notification:intents', notification)
) AS m (id, stream, payload)
WHERE m.id IS NOT NULL
ORDER BY place
ON CONFLICT (id) DO NOTHING
