-- Writes what tries came to: jobs that stand in their records, and those to be tried
-- again after so many seconds. No job is there twice.
UPDATE jobs j
SET accepted = t.accepted::jsonb, next_try = now() + make_interval(secs => t.delay), claimed_until = '-infinity'
FROM unnest($1::text[], $2::text[], $3::float8[]) AS t (id, accepted, delay)
WHERE j.id = t.id AND j.id = ANY ($1) AND j.accepted IS NULL AND j.result IS NULL
