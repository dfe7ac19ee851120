-- Gives jobs their results, unless they have one, and returns which. No job is there
-- twice.
WITH given AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
    WITH ORDINALITY AS g (id, job, stream, game, payload, place)
), answered AS (
    UPDATE jobs j SET result = g.payload::jsonb, answered_at = now()
    FROM given g WHERE j.id = g.job AND j.id = ANY ($2) AND j.result IS NULL
    RETURNING g.*
), told AS (
    INSERT INTO outbox (id, stream, game, payload)
    SELECT id, stream, game, payload::jsonb FROM answered ORDER BY place
    ON CONFLICT (id) DO NOTHING
)
SELECT job FROM answered
