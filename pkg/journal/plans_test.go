package journal

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// longStory is that of 1,000 games, with 20 operations and 20 events each.
const longStory = `
INSERT INTO operation_log (id, namespace, game, uid, generation, action, at, deadline, outcome)
SELECT gen_random_uuid(), 'default', 'g' || n % 1000, 'u', 1, (ARRAY['create', 'start', 'stop', 'remove'])[1 + n / 1000 % 4],
       now() - make_interval(secs => n), now(), 'Succeeded' FROM generate_series(1, 20000) n;
INSERT INTO health_events (id, namespace, game, uid, type, at, details)
SELECT gen_random_uuid(), 'default', 'g' || n % 1000, 'u', 'container_exited', now() - make_interval(secs => n), '{}' FROM generate_series(1, 20000) n;
INSERT INTO outbox (id, stream, game, payload, created_at)
SELECT id, 'runtime:health_events', 'default/' || game, '{}', at FROM health_events;
INSERT INTO health_snapshots (namespace, game, uid, at, snapshot)
SELECT 'default', 'g' || n, 'u', now(), '{}' FROM generate_series(1, 1000) n;
INSERT INTO jobs (id, stream, entry, verb, game, caller, image, spec, received_at, deadline, accepted, result, answered_at)
SELECT 'j' || n, 's', n || '-0', 'start', 'g' || n % 1000, 'lobby', '', '', at, at, '{}', '{}', at
FROM (SELECT n, now() - make_interval(secs => n) AS at FROM generate_series(1, 20000) n) t;
INSERT INTO jobs (id, stream, entry, verb, game, caller, image, spec, deadline)
SELECT 'open' || n, 's', n || '-0', 'start', 'g' || n, 'lobby', '', '', now() FROM generate_series(30001, 30100) n;
ANALYZE;`

// Whatever the journal asks, it finds by an index, and the story of one game costs
// as much as is read of it. With -v the test shows the plans.
func TestEveryStatementGoesByIndex(t *testing.T) {
	pool := postgrestest.Schema(t)
	_, err := pool.Exec(ctx, longStory)
	require.NoError(t, err)
	for name, s := range map[string]struct {
		sql     string
		args    int
		indexes []string
	}{
		"finish":            {finishIntents, 5, []string{"operation_log_pkey"}},
		"load":              {loadIntents, 2, []string{"operation_log_open", "operation_log_kept"}},
		"tell":              {tellEvents, 12, []string{"health_events_pkey"}},
		"history":           {readHistory, 4, []string{"Merge Append", "operation_log_story", "health_events_story"}},
		"old operations":    {oldOperations, 6, []string{"operation_log_at", "operation_log_kept"}},
		"delete operations": {deleteOperations, 1, []string{"operation_log_pkey"}},
		"delete events":     {deleteEvents, 2, []string{"health_events_at", "health_events_pkey"}},
		"waiting":           {waitingMessages, 1, []string{"outbox_waiting"}},
		"published":         {publishedMessages, 2, []string{"outbox_pkey"}},
		"reached":           {reachedStreams, 0, []string{"outbox_published_at"}},
		"recall":            {recallMessages, 2, []string{"outbox_published_at"}},
		"delete outbox":     {deleteOutbox, 2, []string{"outbox_created_at", "outbox_pkey"}},
		"delete published":  {deletePublished, 2, []string{"outbox_published_at", "outbox_pkey"}},
		"accept jobs":       {acceptJobs, 14, []string{"jobs_pkey"}},
		"claim jobs":        {claimJobs, 3, []string{"jobs_to_apply", "jobs_accepted_of_game", "jobs_pkey"}},
		"settle jobs":       {settleJobs, 3, []string{"jobs_to_apply"}},
		"answer jobs":       {answerJobs, 5, []string{"jobs_to_answer"}},
		"accepted jobs":     {acceptedJobs, 0, []string{"jobs_to_answer"}},
		"open jobs":         {openJobs, 0, []string{"jobs_to_answer"}},
		"delete jobs":       {deleteJobs, 2, []string{"jobs_answered_at", "jobs_pkey"}},
		"old snapshots":     {oldSnapshots, 4, []string{"health_snapshots_pkey"}},
		"delete snapshots":  {deleteSnapshots, 3, []string{"health_snapshots_pkey"}},
	} {
		t.Run(name, func(t *testing.T) {
			tx, err := pool.Begin(ctx)
			require.NoError(t, err)
			defer func() { require.NoError(t, tx.Rollback(ctx)) }()
			plan := explain(t, tx, s.sql, s.args)
			t.Log("\n" + plan)
			require.NotContains(t, plan, "Seq Scan")
			for _, index := range s.indexes {
				require.Contains(t, plan, index)
			}
		})
	}
}

// explain shows the plan that a prepared statement has, whatever its arguments.
func explain(t *testing.T, tx pgx.Tx, sql string, args int) string {
	_, err := tx.Exec(ctx, "PREPARE explained AS "+sql)
	require.NoError(t, err)
	nulls := strings.TrimSuffix(strings.Repeat("NULL, ", args), ", ")
	rows, _ := tx.Query(ctx, strings.TrimSuffix(fmt.Sprintf("EXPLAIN (COSTS OFF) EXECUTE explained (%s)", nulls), " ()"), pgx.QueryExecModeSimpleProtocol)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	_, err = tx.Exec(ctx, "DEALLOCATE explained") // the connection is the pool's
	require.NoError(t, err)
	return strings.Join(lines, "\n")
}
