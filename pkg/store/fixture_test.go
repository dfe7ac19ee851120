package store

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/client/v3/kubernetes"
	"k8s.io/apimachinery/pkg/api/apitesting"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apiserver/pkg/apis/example"
	examplev1 "k8s.io/apiserver/pkg/apis/example/v1"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/cacher"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
	"k8s.io/apiserver/pkg/storage/value"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(beClients); config != "" {
		if err := runClients(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	postgrestest.Main(m)
}

var codecs = func() serializer.CodecFactory {
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, metav1.SchemeGroupVersion)
	utilruntime.Must(example.AddToScheme(scheme))
	utilruntime.Must(examplev1.AddToScheme(scheme))
	return serializer.NewCodecFactory(scheme)
}()

var podCodec = apitesting.TestCodec(codecs, examplev1.SchemeGroupVersion)

func newPod() runtime.Object { return &example.Pod{} }

// podStore is the storage of pods that people can read.
func podStore(b *Backend) *Store {
	return b.Store(ResourceOptions{Prefix: "/pods/", Codec: podCodec, NewFunc: newPod})
}

func openPool(t testing.TB, url string) *pgxpool.Pool {
	pool, err := postgres.Open(context.Background(), url)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func openBackend(t testing.TB, url string) *Backend { return openBackendOn(t, openPool(t, url)) }

// openBackendOn has no canary: upstream's suite counts revisions.
func openBackendOn(t testing.TB, pool *pgxpool.Pool) *Backend {
	backend, err := open(context.Background(), Options{Pool: pool, Log: logr.Discard()}, time.Hour)
	require.NoError(t, err)
	t.Cleanup(backend.Close)
	return backend
}

// subject is a storage as upstream's suite wants it: bare, or under the watch
// cache. It may replace what seals the objects, cut the log and count lists.
type subject struct {
	storage.Interface
	store *Store
	lists *listRecorder
	// compacted makes the watch cache compact too, what it has for lists or for
	// watches.
	compacted func(watches bool)
}

// bareSubject lets the suite seal objects with a prefix, which counts reads.
func bareSubject(t *testing.T, options ...func(*ResourceOptions)) subject {
	o := ResourceOptions{
		Prefix: "/pods/", Resource: schema.GroupResource{Resource: "pods"}, Codec: podCodec, NewFunc: newPod,
		Transformer: storagetesting.NewPrefixTransformer([]byte(sealPrefix), false),
	}
	for _, option := range options {
		option(&o)
	}
	config, err := pgxpool.ParseConfig(postgrestest.URL(t))
	require.NoError(t, err)
	lists := newListRecorder()
	config.ConnConfig.Tracer = lists
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	s := openBackendOn(t, pool).Store(o)
	return subject{Interface: s, store: s, lists: lists, compacted: func(bool) {}}
}

// cachedSubject puts upstream's watch cache on top.
func cachedSubject(t *testing.T, options ...func(*ResourceOptions)) subject {
	s := bareSubject(t, options...)
	top := &cached{}
	top.start(t, s.store)
	s.Interface, s.compacted = top, top.compacted
	return s
}

// cached is a watch cache that can be started anew, as by a process.
type cached struct {
	storage.Interface
	clock   *hurriedClock
	restart func()
}

func (c *cached) start(t *testing.T, bare *Store) {
	c.clock = &hurriedClock{}
	config := cacher.Config{
		Storage: bare, Versioner: bare.versioner, GroupResource: bare.resource,
		EventsHistoryWindow: cacher.DefaultEventFreshDuration, ResourcePrefix: "/pods/", KeyFunc: podKey,
		NewFunc: newPod, NewListFunc: func() runtime.Object { return &example.PodList{} },
		GetAttrsFunc: podAttributes, Codec: bare.codec, Clock: c.clock,
		IndexerFuncs: storage.IndexerFuncs{"spec.nodeName": func(obj runtime.Object) string { return obj.(*example.Pod).Spec.NodeName }},
		Indexers: &cache.Indexers{
			"f:spec.nodeName":      func(obj any) ([]string, error) { return []string{obj.(*example.Pod).Spec.NodeName}, nil },
			"f:metadata.namespace": func(obj any) ([]string, error) { return []string{obj.(*example.Pod).Namespace}, nil },
		},
	}
	cache, err := cacher.NewCacherFromConfig(config)
	require.NoError(t, err)
	delegator := cacher.NewCacheDelegator(cache, bare)
	t.Cleanup(func() {
		delegator.Stop()
		cache.Stop()
	})
	require.NoError(t, cache.Wait(context.Background()))
	c.Interface, c.restart = delegator, func() { c.start(t, bare) }
}

// compacted waits until the cache let go of what was compacted. It keeps a
// history for watches of its own; only a new one is without.
func (c *cached) compacted(watches bool) {
	if watches {
		c.restart()
		return
	}
	c.clock.round()
}

// sealPrefix is what upstream's suite puts before each stored object.
const sealPrefix = "test!"

func (s subject) UpdatePrefixTransformer(modify storagetesting.PrefixTransformerModifier) func() {
	return s.UpdateTransformer(func(original value.Transformer) value.Transformer {
		changed := *original.(*storagetesting.PrefixTransformer)
		return modify(&changed)
	})
}

func (s subject) UpdateTransformer(modify storagetesting.TransformerModifier) func() {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	original := s.store.transformer
	s.store.transformer = modify(original)
	return func() {
		s.store.mu.Lock()
		defer s.store.mu.Unlock()
		s.store.transformer = original
	}
}

// stored looks at what is in the table: no revision may be part of it.
func (s subject) stored(ctx context.Context, t *testing.T, key string) {
	found, _, err := s.store.backend.read(ctx, key)
	require.NoError(t, err)
	require.NotNil(t, found)
	obj, err := runtime.Decode(s.store.codec, found.data[len(sealPrefix):])
	require.NoError(t, err)
	require.Empty(t, obj.(*example.Pod).ResourceVersion)
}

// compact is preceded by a revision that the suite expects: etcd's compaction
// writes a key of its own.
func (s subject) compact(ctx context.Context, t *testing.T, version string) {
	s.compactStore(ctx, t, version)
	s.compacted(false)
}

func (s subject) compactWatches(ctx context.Context, t *testing.T, version string) {
	s.compactStore(ctx, t, version)
	s.compacted(true)
}

func (s subject) compactStore(ctx context.Context, t *testing.T, version string) {
	revision, err := s.store.versioner.ParseResourceVersion(version)
	require.NoError(t, err)
	s.tick(ctx, t)
	require.NoError(t, s.store.backend.compact(ctx, int64(revision)))
	require.NoError(t, s.store.backend.tail.catchUp(ctx))
}

// tick makes a revision that belongs to none of the objects.
func (s subject) tick(ctx context.Context, t *testing.T) int64 {
	var now int64
	require.NoError(t, s.store.backend.pool.QueryRow(ctx, "UPDATE clock SET revision = revision + 1 RETURNING revision").Scan(&now))
	s.store.backend.tail.wake()
	return now
}

// reads wants as many objects opened, and as many pages read, as upstream's
// storage would for a list.
func (s subject) reads(t *testing.T, pageSize, objects uint64) {
	if s.cached() {
		return
	}
	require.Equal(t, objects, s.store.transformer.(*storagetesting.PrefixTransformer).GetReadsAndReset(), "objects read")
	pages := uint64(1)
	if pageSize != 0 {
		limit := pageSize
		for sum := uint64(1); sum < objects; sum += limit {
			limit = min(2*limit, largestPage)
			pages++
		}
	}
	require.Equal(t, pages, s.lists.reset(), "pages read")
}

// listRecorder sees the lists that reach PostgreSQL, and tells upstream's
// recorder of them in etcd's terms.
type listRecorder struct {
	*storagetesting.KubernetesRecorder
	mu    sync.Mutex
	lists uint64
}

func newListRecorder() *listRecorder {
	return &listRecorder{KubernetesRecorder: storagetesting.NewKubernetesRecorder(noKubernetes{})}
}

func (r *listRecorder) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}
func (r *listRecorder) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (r *listRecorder) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	for _, query := range data.Batch.QueuedQueries {
		if query.SQL != readObjects && query.SQL != readObjectsAt {
			continue
		}
		r.mu.Lock()
		r.lists++
		r.mu.Unlock()
		from, to, options := query.Arguments[0].(string), query.Arguments[1].(string), kubernetes.ListOptions{}
		if to == after(from) {
			continue // etcd would call that a get
		}
		if limit := query.Arguments[2].(*int64); limit != nil {
			options.Limit = *limit - 1
		}
		if query.SQL == readObjectsAt {
			options.Revision = query.Arguments[3].(int64)
		}
		if last, ok := strings.CutSuffix(from, "\x01"); ok {
			from = last + "\x00"
		}
		_, _ = r.List(ctx, "/registry"+from, options) // it never fails
	}
	return ctx
}
func (r *listRecorder) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (r *listRecorder) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

func (r *listRecorder) reset() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	lists := r.lists
	r.lists = 0
	return lists
}

// noKubernetes is what upstream's recorder believes to be etcd.
type noKubernetes struct{ kubernetes.Interface }

func (noKubernetes) List(context.Context, string, kubernetes.ListOptions) (kubernetes.ListResponse, error) {
	return kubernetes.ListResponse{}, nil
}

// hurriedClock makes the watch cache ask often whether the log was cut.
type hurriedClock struct {
	clock.RealClock
	mu     sync.Mutex
	timers []*hurriedTimer
}

// cacheCompaction is how often upstream's watch cache asks.
const cacheCompaction = 15 * time.Second

func (c *hurriedClock) NewTimer(d time.Duration) clock.Timer {
	if d != cacheCompaction {
		return c.RealClock.NewTimer(d)
	}
	t := &hurriedTimer{Timer: c.RealClock.NewTimer(time.Millisecond), rounds: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timers = append(c.timers, t)
	return t
}

// round waits until the watch cache has asked, from the beginning to the end.
func (c *hurriedClock) round() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.timers {
		<-t.rounds
		<-t.rounds
	}
}

// hurriedTimer is reset when the watch cache has asked.
type hurriedTimer struct {
	clock.Timer
	rounds chan struct{}
}

func (t *hurriedTimer) Reset(time.Duration) bool {
	select {
	case t.rounds <- struct{}{}:
	default:
	}
	return t.Timer.Reset(time.Millisecond)
}

func podKey(obj runtime.Object) (string, error) {
	m, err := meta.Accessor(obj)
	if err != nil {
		return "", err
	}
	if m.GetNamespace() == "" {
		return "/pods/" + m.GetName(), nil
	}
	return "/pods/" + m.GetNamespace() + "/" + m.GetName(), nil
}

func podAttributes(obj runtime.Object) (labels.Set, fields.Set, error) {
	pod := obj.(*example.Pod)
	return pod.Labels, fields.Set{
		"metadata.name": pod.Name, "metadata.namespace": pod.Namespace, "spec.nodeName": pod.Spec.NodeName,
		"spec.restartPolicy": string(pod.Spec.RestartPolicy), "status.phase": string(pod.Status.Phase),
	}, nil
}

func (s subject) cached() bool { return s.Interface != storage.Interface(s.store) }
