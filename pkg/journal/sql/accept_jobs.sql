-- Writes jobs that were read and, for those that cannot be carried out, their
-- results; $14 is how many seconds a job has. Returns those that are there from
-- another entry: earlier ones as they were before this statement.
WITH given AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                         $9::text[], $10::uuid[], $11::text[], $12::text[], $13::text[])
    WITH ORDINALITY AS g (id, stream, entry, verb, game, caller, image, spec, traceparent, reply, reply_stream, reply_game, payload, place)
), fresh AS (
    INSERT INTO jobs (id, stream, entry, verb, game, caller, image, spec, traceparent, deadline, result, answered_at)
    SELECT id, stream, entry, verb, game, caller, image, spec, traceparent, now() + make_interval(secs => $14), payload::jsonb,
           CASE WHEN payload IS NOT NULL THEN now() END
    FROM given ORDER BY place
    ON CONFLICT (id) DO NOTHING
    RETURNING id, stream, entry
), told AS (
    INSERT INTO outbox (id, stream, game, payload)
    SELECT reply, reply_stream, reply_game, payload::jsonb
    FROM given JOIN fresh USING (id, stream, entry)
    WHERE payload IS NOT NULL ORDER BY place
    ON CONFLICT (id) DO NOTHING
)
SELECT g.stream, g.entry, g.id, j.result
FROM given g LEFT JOIN jobs j ON j.id = g.id
WHERE (j.stream, j.entry) IS DISTINCT FROM (g.stream, g.entry)
  AND NOT EXISTS (SELECT FROM fresh f WHERE f.id = g.id AND f.stream = g.stream AND f.entry = g.entry)
ORDER BY g.place
