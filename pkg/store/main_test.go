package store

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

func openPool(t testing.TB, url string) *pgxpool.Pool {
	pool, err := postgres.Open(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}
