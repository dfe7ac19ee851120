-- Writes outcomes. No id is there twice.
UPDATE operation_log o
SET outcome = e.outcome, code = e.code, message = e.message, finished_at = e.finished_at
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[]) AS e (id, outcome, code, message, finished_at)
WHERE o.id = e.id
