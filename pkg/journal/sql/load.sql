-- Reads what was left open, and the last of each game's operations that are kept:
-- of each action in $1 as many as $2 says. It goes from game to game by the index
-- operation_log_kept, so that the length of the log does not matter.
WITH RECURSIVE games AS (
    (SELECT namespace, game FROM operation_log WHERE action IN ('start', 'stop', 'remove') ORDER BY namespace, game LIMIT 1)
    UNION ALL
    SELECT following.namespace, following.game
    FROM games, LATERAL (
        SELECT o.namespace, o.game FROM operation_log o
        WHERE o.action IN ('start', 'stop', 'remove') AND (o.namespace, o.game) > (games.namespace, games.game)
        ORDER BY o.namespace, o.game LIMIT 1
    ) following
), wanted AS (
    SELECT * FROM operation_log WHERE outcome IS NULL
    UNION ALL
    SELECT last.*
    FROM games, unnest($1::text[], $2::int[]) AS kept (action, count), LATERAL (
        SELECT * FROM operation_log o
        WHERE o.action IN ('start', 'stop', 'remove') AND o.namespace = games.namespace AND o.game = games.game AND o.action = kept.action
        ORDER BY o.at DESC LIMIT kept.count
    ) last
    WHERE last.outcome IS NOT NULL
)
SELECT o.id::text, o.namespace, o.game, o.uid, o.generation, o.action, o.container, o.run, o.cause, o.why, o.requested_by, o.at, o.deadline,
       coalesce(o.outcome, ''), o.code, o.message, o.finished_at
FROM wanted o
ORDER BY o.at, o.id
