package store

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// someGames are 20,000 records of which every fourth has an owner, each changed
// once since the log was cut.
const someGames = `
INSERT INTO objects (key, revision, expires_at, object, data)
SELECT key, n + 1, CASE WHEN n % 100 = 0 THEN now() + interval '1 hour' END, convert_from(data, 'UTF8')::jsonb, data
FROM generate_series(1, 20000) n, LATERAL (SELECT
    format('/gameruntimes/default/game-%s', n) AS key,
    convert_to(format('{"metadata":{"name":"game-%1$s","uid":"uid-%1$s","ownerReferences":[%2$s]}}', n,
        CASE WHEN n % 4 = 0 THEN format('{"uid":"uid-%s"}', n / 4) END), 'UTF8') AS data) game;
INSERT INTO changes (revision, key, data, previous_revision, previous, at)
SELECT revision, key, data, 0, NULL, now() - interval '1 minute' FROM objects;
UPDATE clock SET revision = 20001;
ANALYZE;`

// Whatever the store asks, it finds by an index: no statement reads a table from
// end to end. With -v the test shows the plans.
func TestEveryStatementGoesByIndex(t *testing.T) {
	ctx := context.Background()
	pool := openPool(t, postgrestest.URL(t))
	_, err := pool.Exec(ctx, someGames)
	require.NoError(t, err)
	const from, to = "/gameruntimes/default/", "/gameruntimes/default0"
	key := from + "game-500"
	for name, s := range map[string]struct {
		sql     string
		args    []any
		indexes []string
	}{
		"take the clock": {takeClock, nil, []string{"clock_pkey"}},
		"write": {writeObjects, []any{
			[]string{key, from + "new"}, [][]byte{[]byte("{}"), []byte("{}")}, []bool{true, true}, []int64{501, 0}, []int64{0, 0},
		}, []string{"clock_pkey", "objects_pkey"}},
		"get":                {readObject, []any{key}, []string{"clock_pkey", "objects_pkey"}},
		"list":               {readObjects, []any{from, to, 501}, []string{"objects_pkey"}},
		"list at a revision": {readObjectsAt, []any{from, to, 501, 15000}, []string{"objects_pkey", "changes_pkey"}},
		"count what is left": {countObjectsAt, []any{from, to, 15000}, []string{"objects_pkey", "changes_pkey"}},
		"measure":            {measure, []any{from, to}, []string{"objects_pkey"}},
		"tail":               {readChanges, []any{19000, 100}, []string{"changes_pkey"}},
		"watch from before":  {readChangesOf, []any{15000, 19000, from, to}, []string{"changes_pkey"}},
		"find the cut":       {findCut, []any{600.0, 200000}, []string{"clock_pkey", "changes_pkey"}},
		"cut":                {cutChanges, []any{5000, 500}, []string{"changes_pkey"}},
		"find expired":       {findExpired, []any{500}, []string{"objects_expires_at"}},
		"find owners":        {"SELECT revision, data FROM objects WHERE uid = ANY($1)", []any{[]string{"uid-1", "uid-2"}}, []string{"objects_uid"}},
		"find dependents":    {"SELECT revision, data FROM objects WHERE ownership ?| $1", []any{[]string{"uid-1"}}, []string{"objects_ownership"}},
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

// explain shows the plan that the store's prepared statement has, whatever its
// arguments.
func explain(t *testing.T, tx pgx.Tx, sql string, args []any) string {
	_, err := tx.Exec(t.Context(), "PREPARE explained AS "+sql)
	require.NoError(t, err)
	defer func() {
		_, err := tx.Exec(t.Context(), "DEALLOCATE explained")
		require.NoError(t, err)
	}()
	var parameters []string
	for i := range args {
		parameters = append(parameters, fmt.Sprintf("$%d", i+1))
	}
	execute := "EXECUTE explained"
	if len(args) > 0 {
		execute += " (" + strings.Join(parameters, ", ") + ")"
	}
	rows, err := tx.Query(t.Context(), "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) "+execute, append([]any{pgx.QueryExecModeSimpleProtocol}, args...)...)
	require.NoError(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return strings.Join(lines, "\n")
}
