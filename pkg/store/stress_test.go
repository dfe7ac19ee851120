package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/apiserver/pkg/storage"

	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// TestWatchersMissNothing lets writers of two processes' worth of backends
// fight over few keys, and cuts the connections in between: every watcher must
// see every change, once, in the order of the revisions.
func TestWatchersMissNothing(t *testing.T) {
	url := postgrestest.URL(t)
	backends := []*Backend{openBackend(t, url), openBackend(t, url)}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	start, err := backends[0].revision(ctx)
	require.NoError(t, err)
	var watchers []watch.Interface
	for _, b := range backends {
		for range 2 {
			w, err := podStore(b).Watch(ctx, "/pods", storage.ListOptions{ResourceVersion: fmt.Sprint(start), Predicate: storage.Everything, Recursive: true})
			require.NoError(t, err)
			watchers = append(watchers, w)
		}
	}

	var mu sync.Mutex
	written := map[int64]bool{}
	var writers sync.WaitGroup
	for i := range 16 {
		writers.Add(1)
		go func() {
			defer writers.Done()
			b := backends[i%2]
			for range 100 {
				revision := writeSome(t, b, fmt.Sprintf("/pods/default/p%d", rand.N(20)))
				mu.Lock()
				written[revision] = revision != 0
				mu.Unlock()
			}
		}()
	}
	for range 3 { // the notifications of all are lost for a moment
		_, err := backends[0].pool.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
		require.NoError(t, err)
	}
	writers.Wait()
	delete(written, 0)
	last := int64(0)
	for revision := range written {
		last = max(last, revision)
	}
	for i, w := range watchers {
		seen := map[int64]bool{}
		for previous := int64(0); previous < last; {
			select {
			case e, open := <-w.ResultChan():
				require.True(t, open)
				require.NotEqual(t, watch.Error, e.Type, "%v", e.Object)
				version, err := storage.APIObjectVersioner{}.ObjectResourceVersion(e.Object)
				require.NoError(t, err)
				require.Greater(t, int64(version), previous, "watcher %d: in order, and once", i)
				previous = int64(version)
				seen[previous] = true
			case <-time.After(30 * time.Second):
				t.Fatalf("watcher %d stands still at %d of %d", i, previous, last)
			}
		}
		require.Equal(t, written, seen, "watcher %d saw every change", i)
	}
}

// writeSome creates, updates or deletes what is there, and returns the
// revision; 0 if somebody else was faster.
func writeSome(t *testing.T, b *Backend, key string) int64 {
	found, _, err := b.read(context.Background(), key)
	if err != nil {
		t.Error(err)
		return 0
	}
	name := key[strings.LastIndex(key, "/")+1:]
	w := write{key: key, data: []byte(fmt.Sprintf(`{"kind":"Pod","apiVersion":"example.apiserver.k8s.io/v1","metadata":{"name":%q,"namespace":"default","uid":"%d"}}`, name, rand.Int()))}
	if found != nil {
		w.expected = found.revision
		if rand.N(4) == 0 {
			w.data = nil
		}
	}
	revision, err := b.write(context.Background(), w)
	if err != nil {
		t.Error(err)
	}
	return revision
}

func TestWatchBehindCompactionEndsWith410(t *testing.T) {
	b := openBackend(t, postgrestest.URL(t))
	s := podStore(b)
	var out example.Pod
	for i := range 3 {
		pod := &example.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("p%d", i), Namespace: "default"}}
		require.NoError(t, s.Create(context.Background(), "/pods/default/"+pod.Name, pod, &out, 0))
	}
	now, err := b.revision(context.Background())
	require.NoError(t, err)
	require.NoError(t, b.compact(context.Background(), now))
	require.NoError(t, b.tail.catchUp(context.Background()))

	w, err := s.Watch(context.Background(), "/pods", storage.ListOptions{ResourceVersion: "2", Predicate: storage.Everything, Recursive: true})
	require.NoError(t, err)
	e := <-w.ResultChan()
	require.Equal(t, watch.Error, e.Type)
	require.Equal(t, int32(410), e.Object.(*metav1.Status).Code)
}

// TestReaderBehindCompactionSkipsNothing: a reader that finds that the log was
// cut beyond where it stood must not let its watchers believe they saw it all.
func TestReaderBehindCompactionSkipsNothing(t *testing.T) {
	pool := openPool(t, postgrestest.URL(t))
	writer := openBackend(t, pool.Config().ConnString())
	start, err := writer.revision(context.Background())
	require.NoError(t, err)
	stopped := newTail(&Backend{pool: pool}, start, 0) // nobody runs it
	for range 5 {
		writeSome(t, writer, "/pods/default/p")
	}
	now, err := writer.revision(context.Background())
	require.NoError(t, err)
	require.NoError(t, writer.compact(context.Background(), now))

	require.NoError(t, stopped.catchUp(context.Background()))
	_, err = stopped.since(context.Background(), start, below("/pods/"))
	require.ErrorIs(t, err, errCompacted)
}

func TestObjectColumnIsWhatWasWritten(t *testing.T) {
	b := openBackend(t, postgrestest.URL(t))
	ctx := context.Background()
	for name, data := range map[string]string{
		"big":     `{"metadata":{"name":"big","namespace":"n"},"spec":{"n":9007199254740993,"f":1.0}}`,
		"unicode": `{"metadata":{"name":"unicode"},"text":"Ω ☃ 😀 \\ \" \n"}`,
		"nulls":   `{"metadata":{"name":"nulls"},"a":null,"b":[null,{}]}`,
	} {
		revision, err := b.write(ctx, write{key: "/pods/n/" + name, data: []byte(data)})
		require.NoError(t, err)
		require.NotZero(t, revision)
		var same bool
		var stored []byte
		require.NoError(t, b.pool.QueryRow(ctx, "SELECT object = convert_from(data, 'UTF8')::jsonb AND objects.name = $2, data FROM objects WHERE key = $1", "/pods/n/"+name, name).Scan(&same, &stored))
		require.True(t, same, "%s: people read what was written", name)
		require.Equal(t, data, string(stored), "%s: byte for byte", name)
	}
	_, err := b.write(ctx, write{key: "/pods/n/nul", data: []byte(`{"metadata":{"name":"nul"},"text":"a\u0000b"}`)})
	require.NoError(t, err, "a NUL is stored, though people cannot read it")
	found, _, err := b.read(ctx, "/pods/n/nul")
	require.NoError(t, err)
	require.Contains(t, string(found.data), `\u0000`)
}

func TestCreatedAtNeverChanges(t *testing.T) {
	b := openBackend(t, postgrestest.URL(t))
	ctx := context.Background()
	revision, err := b.write(ctx, write{key: "/pods/n/p", data: []byte(`{}`)})
	require.NoError(t, err)
	var before, after time.Time
	require.NoError(t, b.pool.QueryRow(ctx, "SELECT created_at FROM objects").Scan(&before))
	_, err = b.write(ctx, write{key: "/pods/n/p", data: []byte(`{"a":1}`), expected: revision})
	require.NoError(t, err)
	require.NoError(t, b.pool.QueryRow(ctx, "SELECT created_at FROM objects").Scan(&after))
	require.Equal(t, before, after)
}
