-- Tells what is no job's own result, once.
INSERT INTO outbox (id, stream, game, payload)
SELECT id, stream, game, payload::jsonb
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
WITH ORDINALITY AS g (id, job, stream, game, payload, place)
ORDER BY place
ON CONFLICT (id) DO NOTHING
