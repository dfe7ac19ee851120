package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// brokenChains counts changes that do not follow on the one before them.
const brokenChains = `SELECT count(*) FROM (
	SELECT previous_revision, coalesce(lag(CASE WHEN data IS NULL THEN 0 ELSE revision END) OVER (PARTITION BY key ORDER BY revision), 0) AS before
	FROM changes) c WHERE previous_revision <> before`

// While a new version rolls out, the former one writes beside it, by
// write_object.
func TestTheFormerVersionWritesBesideUs(t *testing.T) {
	ctx := context.Background()
	backend := openBackend(t, postgrestest.URL(t))
	start, err := backend.revision(ctx)
	require.NoError(t, err)
	ours := func(w write) (bool, error) {
		revision, err := backend.write(ctx, w)
		return revision != 0, err
	}
	former := func(w write) (written bool, err error) {
		err = backend.pool.QueryRow(ctx, "SELECT written FROM write_object($1, $2, convert_from($2, 'UTF8')::jsonb, $3, 0)",
			w.key, w.data, w.expected).Scan(&written)
		return written, err
	}
	var writers errgroup.Group
	var written, lost atomic.Int64
	for i := range 16 {
		one := []func(write) (bool, error){ours, former}[i%2]
		writers.Go(func() error {
			for range 100 {
				w := write{key: fmt.Sprintf("/pods/default/p%d", rand.N(4)), data: []byte(`{}`)}
				err := backend.pool.QueryRow(ctx, "SELECT coalesce((SELECT revision FROM objects WHERE key = $1), 0)", w.key).Scan(&w.expected)
				if err != nil {
					return err
				}
				if w.expected != 0 && rand.N(3) == 0 {
					w.data = nil
				}
				done, err := one(w)
				if err != nil {
					return err
				}
				if done {
					written.Add(1)
				} else {
					lost.Add(1)
				}
			}
			return nil
		})
	}
	require.NoError(t, writers.Wait())
	require.NotZero(t, lost.Load(), "they fought over the same keys")

	end, err := backend.revision(ctx)
	require.NoError(t, err)
	require.Equal(t, written.Load(), end-start, "each write has a revision of its own")
	var logged, broken int64
	require.NoError(t, backend.pool.QueryRow(ctx, "SELECT count(*) FROM changes WHERE revision > $1", start).Scan(&logged))
	require.Equal(t, written.Load(), logged)
	require.NoError(t, backend.pool.QueryRow(ctx, brokenChains).Scan(&broken))
	require.Zero(t, broken, "nobody overwrote what he had not seen")
}
