-- Deletes games' snapshots, unless they are from after $1 by now.
DELETE FROM health_snapshots s
USING unnest($2::text[], $3::text[]) AS g (namespace, game)
WHERE s.namespace = g.namespace AND s.game = g.game AND s.at < $1
