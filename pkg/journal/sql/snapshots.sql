-- Writes the games' snapshots. No game is there twice.
INSERT INTO health_snapshots (namespace, game, uid, at, snapshot)
SELECT namespace, game, uid, at, snapshot::jsonb
FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[]) AS s (namespace, game, uid, at, snapshot)
ON CONFLICT (namespace, game) DO UPDATE SET uid = excluded.uid, at = excluded.at, snapshot = excluded.snapshot
