-- Reads $4 decided operations from before $1, from behind the one of time $2 and id
-- $3 on, and says of each whether it is among the last that Load is to return: of
-- each action in $5 as many as $6 says.
SELECT o.at, o.id::text, o.namespace, o.game, coalesce((
    SELECT (
        SELECT count(*) FROM (
            SELECT FROM operation_log newer
            WHERE newer.namespace = o.namespace AND newer.game = o.game AND newer.action = o.action AND newer.at > o.at
              AND newer.action IN ('start', 'stop', 'remove')
            LIMIT k.count
        ) n
    ) < k.count
    FROM unnest($5::text[], $6::bigint[]) AS k (action, count) WHERE k.action = o.action
), false) AS needed
FROM operation_log o
WHERE o.at < $1 AND o.at >= $2 AND (o.at, o.id) > ($2, $3::uuid) AND o.outcome IS NOT NULL
ORDER BY o.at, o.id
LIMIT $4
