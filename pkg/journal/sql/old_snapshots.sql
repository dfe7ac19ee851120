-- Reads $4 games whose health did not change since $1, from behind the game $2, $3 on.
SELECT namespace, game FROM health_snapshots
WHERE (namespace, game) > ($2, $3) AND at < $1
ORDER BY namespace, game
LIMIT $4
