package journal

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

//go:embed sql/history.sql
var readHistory string

// HistoryOptions say how much of a game's story is wanted.
type HistoryOptions struct {
	// Since leaves out what is older; zero is as far back as it is kept.
	Since time.Time
	// Limit is how many entries there are at most: the newest.
	Limit int
}

// History reads the story of a game, newest last: what was done to it, and what
// happened to it. Records of that name that are gone by now are part of it.
func History(ctx context.Context, pool *pgxpool.Pool, game types.NamespacedName, options HistoryOptions) ([]v1alpha1.HistoryEntry, error) {
	rows, _ := pool.Query(ctx, readHistory, game.Namespace, game.Name, unlessZero(options.Since), options.Limit) // the rows tell the error
	entries, err := pgx.CollectRows(rows, readEntry)
	if err != nil {
		return nil, fmt.Errorf("reading the history of %s: %w", game, err)
	}
	slices.Reverse(entries)
	return entries, nil
}

func readEntry(row pgx.CollectableRow) (e v1alpha1.HistoryEntry, err error) {
	var seconds *float64
	var details json.RawMessage
	err = row.Scan(&e.At.Time, &e.Kind, &e.What, &e.Outcome, &e.Code, &e.By, &seconds, &e.Message, &e.Container, &e.Operation, &details)
	if seconds != nil {
		e.Duration = &metav1.Duration{Duration: time.Duration(*seconds * float64(time.Second)).Round(time.Microsecond)}
	}
	if details != nil {
		e.Details = &runtime.RawExtension{Raw: details}
	}
	return e, err
}
