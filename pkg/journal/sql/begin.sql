-- Writes intents and returns true, or does nothing and returns false if the lead was
-- taken since term $14: whoever takes it waits for this transaction, and so reads
-- these intents. One that is there already was written by an earlier try, whose
-- answer was lost.
WITH leads AS MATERIALIZED (
    SELECT term FROM lead WHERE term = $14 FOR SHARE
), written AS (
    INSERT INTO operation_log (id, namespace, game, uid, generation, action, container, run, cause, why, requested_by, at, deadline)
    SELECT i.*
    FROM leads, unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[],
                       $8::timestamptz[], $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::timestamptz[]) AS i
    ON CONFLICT (id) DO NOTHING
)
SELECT EXISTS (SELECT FROM leads)
