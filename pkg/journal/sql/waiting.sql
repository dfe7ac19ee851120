-- Reads the first $1 rows of each stream that wait in the outbox, in their order. It
-- goes from stream to stream by the index outbox_waiting.
WITH RECURSIVE streams AS (
    (SELECT stream FROM outbox WHERE published_at IS NULL ORDER BY stream LIMIT 1)
    UNION ALL
    SELECT following.stream
    FROM streams, LATERAL (
        SELECT o.stream FROM outbox o WHERE o.published_at IS NULL AND o.stream > streams.stream ORDER BY o.stream LIMIT 1
    ) following
)
SELECT waiting.id::text, waiting.stream, coalesce(waiting.payload ->> 'type', waiting.payload ->> 'kind', '') AS type,
       waiting.game, waiting.payload, waiting.created_at
FROM streams, LATERAL (
    SELECT * FROM outbox o WHERE o.published_at IS NULL AND o.stream = streams.stream ORDER BY o.seq LIMIT $1
) waiting
ORDER BY waiting.seq
