package main

import (
	"context"
	"fmt"

	"github.com/go-logr/logr"
	"github.com/jackc/pgx/v5/pgxpool"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"

	"galaxy.io/runtime-manager/pkg/apiserver"
	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/store"
)

// contender is a store on a database of its own.
type contender interface {
	// Store is what the API server asks for; the watch cache is on top.
	apiserver.Store
	// Bare is the storage of the records alone: no API server, no watch cache.
	Bare() (storage.Interface, error)
	Shut()
}

// open opens a contender by its name. Extra are further flags of kine's.
func open(ctx context.Context, name, url string, extra []string) (contender, error) {
	switch name {
	case "ours":
		return openOurs(ctx, url)
	case "kine":
		return openKine(ctx, url, extra)
	}
	return nil, fmt.Errorf("there is no contender %q: ours or kine", name)
}

// ours is pkg/store, opened as the manager opens it.
type ours struct {
	*store.Backend
	pool *pgxpool.Pool
}

func openOurs(ctx context.Context, url string) (contender, error) {
	pool, err := postgres.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	if err := postgres.Migrate(ctx, pool); err != nil {
		return nil, err
	}
	backend, err := store.Open(ctx, store.Options{Pool: pool, Log: logr.Discard()})
	if err != nil {
		return nil, err
	}
	return ours{backend, pool}, nil
}

func (o ours) Bare() (storage.Interface, error) {
	return o.Store(store.ResourceOptions{Prefix: prefix, Codec: unstructured.UnstructuredJSONScheme, NewFunc: newRecord}), nil
}

func (o ours) Shut() {
	o.Close()
	o.pool.Close()
}

// prefix begins the keys of the records at the storage interface.
const prefix = "/gameruntimes"

func newRecord() runtime.Object     { return &unstructured.Unstructured{} }
func newRecordList() runtime.Object { return &unstructured.UnstructuredList{} }
