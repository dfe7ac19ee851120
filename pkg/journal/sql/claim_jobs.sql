-- Takes at most $3 jobs that are to be written into records: for $1, and for $2
-- seconds. Of each game the first one that is open goes first. What $1 claimed and
-- did not settle, it claims again: it crashed meanwhile.
WITH next AS (
    SELECT id FROM jobs j
    WHERE accepted IS NULL AND result IS NULL AND next_try <= now() AND (claimed_until < now() OR claimed_by = $1)
      AND NOT EXISTS (
        SELECT FROM jobs e
        WHERE e.game = j.game AND e.accepted IS NULL AND e.result IS NULL
          AND (e.entry_ms, e.stream, e.entry_n) < (j.entry_ms, j.stream, j.entry_n)
      )
    ORDER BY entry_ms, stream, entry_n
    LIMIT $3
    FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE jobs j SET claimed_by = $1, claimed_until = now() + make_interval(secs => $2), tries = tries + 1
    FROM next WHERE j.id = next.id
    RETURNING j.*
)
SELECT c.id, c.stream, c.entry, c.verb, c.game, c.caller, c.image, c.spec, c.traceparent, c.received_at, c.deadline, c.tries, c.deadline <= now(),
       EXISTS (
         SELECT FROM jobs l
         WHERE l.game = c.game AND l.accepted IS NOT NULL AND l.entry_ms >= c.entry_ms
           AND (l.entry_ms > c.entry_ms OR l.stream = c.stream AND l.entry_n > c.entry_n)
       )
FROM claimed c
ORDER BY c.entry_ms, c.stream, c.entry_n
