-- Reads the newest $4 entries of a game's story that are not older than $3, newest
-- first; all of them if $3 is NULL. Of what is told of one moment, we acted first.
SELECT at, kind, what, outcome, code, by, extract(epoch FROM duration)::double precision AS duration, message, container, operation, details
FROM runtime_history
WHERE namespace = $1 AND game = $2 AND at >= coalesce($3::timestamptz, '-infinity')
ORDER BY at DESC, kind
LIMIT $4
