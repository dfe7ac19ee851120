-- Writes intents. One that is there already was written by an earlier try, whose
-- answer was lost.
INSERT INTO operation_log (id, namespace, game, uid, generation, action, container, run, cause, why, requested_by, at, deadline)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[],
                     $8::timestamptz[], $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::timestamptz[])
ON CONFLICT (id) DO NOTHING
