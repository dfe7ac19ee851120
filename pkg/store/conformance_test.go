package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
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
	"k8s.io/client-go/tools/cache"

	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

var codecs = func() serializer.CodecFactory {
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, metav1.SchemeGroupVersion)
	utilruntime.Must(example.AddToScheme(scheme))
	utilruntime.Must(examplev1.AddToScheme(scheme))
	return serializer.NewCodecFactory(scheme)
}()

var podCodec = apitesting.TestCodec(codecs, examplev1.SchemeGroupVersion)

func newPod() runtime.Object { return &example.Pod{} }

// sealPrefix is what upstream's suite puts before each stored object.
const sealPrefix = "test!"

// upstream is a store as upstream's suite wants it: it may replace what seals.
type upstream struct{ *Store }

func newUpstream(t *testing.T) upstream {
	backend := openBackend(t, postgrestest.URL(t))
	return upstream{backend.Store(StoreOptions{
		Prefix: "/pods/", Codec: podCodec, NewFunc: newPod,
		Transformer: storagetesting.NewPrefixTransformer([]byte(sealPrefix), false),
	})}
}

func (u upstream) UpdatePrefixTransformer(modify storagetesting.PrefixTransformerModifier) func() {
	u.mu.Lock()
	defer u.mu.Unlock()
	original := u.transformer.(*storagetesting.PrefixTransformer)
	changed := *original
	u.transformer = modify(&changed)
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.transformer = original
	}
}

// stored looks at what is in the table: no revision may be part of it.
func (u upstream) stored(ctx context.Context, t *testing.T, key string) {
	found, _, err := u.backend.read(ctx, key)
	require.NoError(t, err)
	require.NotNil(t, found)
	obj, err := runtime.Decode(u.codec, found.data[len(sealPrefix):])
	require.NoError(t, err)
	require.Empty(t, obj.(*example.Pod).ResourceVersion)
}

// compact is preceded by a revision that the suite expects: etcd's compaction
// writes a key of its own.
func (u upstream) compact(ctx context.Context, t *testing.T, version string) {
	revision, err := u.versioner.ParseResourceVersion(version)
	require.NoError(t, err)
	u.tick(ctx, t)
	require.NoError(t, u.backend.compact(ctx, int64(revision)))
	require.NoError(t, u.backend.tail.catchUp(ctx))
}

// tick makes a revision that belongs to none of the objects.
func (u upstream) tick(ctx context.Context, t *testing.T) int64 {
	var now int64
	require.NoError(t, u.backend.pool.QueryRow(ctx, "UPDATE clock SET revision = revision + 1 RETURNING revision").Scan(&now))
	u.backend.tail.wake()
	return now
}

func openBackend(t testing.TB, url string) *Backend {
	pool := openPool(t, url)
	// No canary: the suite counts revisions.
	backend, err := open(context.Background(), Options{Pool: pool, Log: logr.Discard()}, time.Hour)
	require.NoError(t, err)
	t.Cleanup(backend.Close)
	return backend
}

// notApplicable are the tests of upstream's suite that are not run, and why.
var notApplicable = map[string]string{
	"RunTestDeleteExpectedTransformOrDecodeError":                         noUnsafeDeletion,
	"RunTestDeleteWithConflictAndMissingExpectedTransformOrDecodeError":   noUnsafeDeletion,
	"RunTestDeleteWithSuggestionAndMissingExpectedTransformOrDecodeError": noUnsafeDeletion,
	"RunTestWatchWithUnsafeDelete":                                        noUnsafeDeletion,
	"RunTestGetListWithErrorAggregation":                                  noUnsafeDeletion,
}

const noUnsafeDeletion = "the deletion of objects that cannot be decoded is not offered yet"

// TestEveryTestOfTheSuiteIsAccountedFor compares what upstream exports with
// what this file runs, so that a newer upstream does not slip by.
func TestEveryTestOfTheSuiteIsAccountedFor(t *testing.T) {
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", "k8s.io/apiserver/pkg/storage/testing").Output()
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "*.go"))
	require.NoError(t, err)
	ours, err := os.ReadFile("conformance_test.go")
	require.NoError(t, err)
	found := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, match := range regexp.MustCompile(`(?m)^func (Run\w+)\(`).FindAllSubmatch(source, -1) {
			name := string(match[1])
			if strings.HasPrefix(name, "RunBenchmark") {
				continue
			}
			found++
			runs := bytes.Contains(ours, []byte("storagetesting."+name+"(")) || bytes.Contains(ours, []byte("storagetesting."+name+","))
			require.NotEqual(t, runs, notApplicable[name] != "", "%s must either run or have a reason not to", name)
		}
	}
	require.Greater(t, found, 50)
}

// simple are the tests that need nothing but the interface.
var simple = map[string]func(context.Context, *testing.T, storage.Interface){
	"CreateWithTTL":                          storagetesting.RunTestCreateWithTTL,
	"CreateWithKeyExist":                     storagetesting.RunTestCreateWithKeyExist,
	"Get":                                    storagetesting.RunTestGet,
	"UnconditionalDelete":                    storagetesting.RunTestUnconditionalDelete,
	"ConditionalDelete":                      storagetesting.RunTestConditionalDelete,
	"DeleteWithSuggestion":                   storagetesting.RunTestDeleteWithSuggestion,
	"DeleteWithSuggestionAndConflict":        storagetesting.RunTestDeleteWithSuggestionAndConflict,
	"DeleteWithConflict":                     storagetesting.RunTestDeleteWithConflict,
	"DeleteWithSuggestionOfDeletedObject":    storagetesting.RunTestDeleteWithSuggestionOfDeletedObject,
	"ValidateDeletionWithSuggestion":         storagetesting.RunTestValidateDeletionWithSuggestion,
	"ValidateDeletionWithOnlySuggestion":     storagetesting.RunTestValidateDeletionWithOnlySuggestionValid,
	"PreconditionalDeleteWithSuggestion":     storagetesting.RunTestPreconditionalDeleteWithSuggestion,
	"PreconditionalDeleteWithOnlySuggestion": storagetesting.RunTestPreconditionalDeleteWithOnlySuggestionPass,
	"GetListRecursivePrefix":                 storagetesting.RunTestGetListRecursivePrefix,
	"GuaranteedUpdateWithTTL":                storagetesting.RunTestGuaranteedUpdateWithTTL,
	"GuaranteedUpdateWithConflict":           storagetesting.RunTestGuaranteedUpdateWithConflict,
	"GuaranteedUpdateSuggestionAndConflict":  storagetesting.RunTestGuaranteedUpdateWithSuggestionAndConflict,
	"ListPaging":                             storagetesting.RunTestListPaging,
	"NamespaceScopedList":                    storagetesting.RunTestNamespaceScopedList,
	"KeySchema":                              storagetesting.RunTestKeySchema,
	"Watch":                                  storagetesting.RunTestWatch,
	"DeleteTriggerWatch":                     storagetesting.RunTestDeleteTriggerWatch,
	"WatchFromNonZero":                       storagetesting.RunTestWatchFromNonZero,
	"DelayedWatchDelivery":                   storagetesting.RunTestDelayedWatchDelivery,
	"WatchContextCancel":                     storagetesting.RunTestWatchContextCancel,
	"WatcherTimeout":                         storagetesting.RunTestWatcherTimeout,
	"WatchDeleteEventObjectHaveLatestRV":     storagetesting.RunTestWatchDeleteEventObjectHaveLatestRV,
	"WatchInitializationSignal":              storagetesting.RunTestWatchInitializationSignal,
	"ClusterScopedWatch":                     storagetesting.RunTestClusterScopedWatch,
	"NamespaceScopedWatch":                   storagetesting.RunTestNamespaceScopedWatch,
	"SendInitialEventsBackwardCompatibility": storagetesting.RunSendInitialEventsBackwardCompatibility,
	"WatchSemantics":                         storagetesting.RunWatchSemantics,
	"WatchSemanticInitialEventsExtended":     storagetesting.RunWatchSemanticInitialEventsExtended,
	"WatchListMatchSingle":                   storagetesting.RunWatchListMatchSingle,
}

func TestConformance(t *testing.T) {
	for name, run := range simple {
		t.Run(name, func(t *testing.T) { run(context.Background(), t, newUpstream(t)) })
	}
	uncounted := func(*testing.T, uint64, uint64) {} // calls are SQL here, not etcd's
	for name, run := range map[string]func(context.Context, *testing.T, upstream){
		"Create": func(ctx context.Context, t *testing.T, u upstream) { storagetesting.RunTestCreate(ctx, t, u, u.stored) },
		"List": func(ctx context.Context, t *testing.T, u upstream) {
			storagetesting.RunTestList(ctx, t, u, u.compact, false, &storagetesting.KubernetesRecorder{})
		},
		"ConsistentList": func(ctx context.Context, t *testing.T, u upstream) {
			storagetesting.RunTestConsistentList(ctx, t, u, u.tick, false, true, false)
		},
		"GetListNonRecursive": func(ctx context.Context, t *testing.T, u upstream) {
			storagetesting.RunTestGetListNonRecursive(ctx, t, u.tick, u)
		},
		"ListContinuation": func(ctx context.Context, t *testing.T, u upstream) {
			storagetesting.RunTestListContinuation(ctx, t, u, uncounted)
		},
		"ListPaginationRareObject": func(ctx context.Context, t *testing.T, u upstream) {
			storagetesting.RunTestListPaginationRareObject(ctx, t, u, uncounted)
		},
		"ListContinuationWithFilter": func(ctx context.Context, t *testing.T, u upstream) {
			storagetesting.RunTestListContinuationWithFilter(ctx, t, u, uncounted)
		},
		"ListInconsistentContinuation": func(ctx context.Context, t *testing.T, u upstream) {
			storagetesting.RunTestListInconsistentContinuation(ctx, t, u, u.compact)
		},
		"ListResourceVersionMatch": func(ctx context.Context, t *testing.T, u upstream) {
			storagetesting.RunTestListResourceVersionMatch(ctx, t, u)
		},
		"GuaranteedUpdate": func(ctx context.Context, t *testing.T, u upstream) {
			storagetesting.RunTestGuaranteedUpdate(ctx, t, u, u.stored)
		},
		"GuaranteedUpdateChecksStoredData": func(ctx context.Context, t *testing.T, u upstream) {
			storagetesting.RunTestGuaranteedUpdateChecksStoredData(ctx, t, u)
		},
		"TransformationFailure": func(ctx context.Context, t *testing.T, u upstream) {
			storagetesting.RunTestTransformationFailure(ctx, t, u)
		},
		"Stats": func(ctx context.Context, t *testing.T, u upstream) {
			storagetesting.RunTestStats(ctx, t, u, u.codec, u.transformer, true)
		},
		"CompactRevision": func(ctx context.Context, t *testing.T, u upstream) {
			storagetesting.RunTestCompactRevision(ctx, t, u, u.tick, u.compact)
		},
		"WatchFromZero": func(ctx context.Context, t *testing.T, u upstream) {
			storagetesting.RunTestWatchFromZero(ctx, t, u, u.compact)
		},
		"WatchError": func(ctx context.Context, t *testing.T, u upstream) { storagetesting.RunTestWatchError(ctx, t, u) },
		"WatchErrorIsBlockingFurtherEvents": func(ctx context.Context, t *testing.T, u upstream) {
			storagetesting.RunWatchErrorIsBlockingFurtherEvents(ctx, t, u)
		},
		"ProgressNotify": func(ctx context.Context, t *testing.T, u upstream) {
			storagetesting.RunOptionalTestProgressNotify(ctx, t, u, u.tick)
		},
		"WatchDispatchBookmarkEvents": func(ctx context.Context, t *testing.T, u upstream) {
			storagetesting.RunTestWatchDispatchBookmarkEvents(ctx, t, u, false)
		},
		"GetListWithoutErrorAggregation": func(ctx context.Context, t *testing.T, u upstream) {
			storagetesting.RunTestGetListWithoutErrorAggregation(ctx, t, overridable{u}, errors.New("bits flipped"))
		},
	} {
		t.Run(name, func(t *testing.T) { run(context.Background(), t, newUpstream(t)) })
	}
}

// overridable lets upstream's suite replace the whole transformer.
type overridable struct{ upstream }

func (o overridable) UpdateTransformer(modify storagetesting.TransformerModifier) func() {
	o.mu.Lock()
	defer o.mu.Unlock()
	original := o.transformer
	o.transformer = modify(original)
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.transformer = original
	}
}

func TestConformanceUnderTheWatchCache(t *testing.T) {
	for name, run := range simple {
		t.Run(name, func(t *testing.T) {
			cached, _ := newCached(t)
			run(context.Background(), t, cached)
		})
	}
	t.Run("OptionalWatchBookmarks", func(t *testing.T) {
		cached, _ := newCached(t)
		storagetesting.RunTestOptionalWatchBookmarksWithCorrectResourceVersion(context.Background(), t, cached)
	})
	t.Run("ConsistentList", func(t *testing.T) {
		cached, u := newCached(t)
		storagetesting.RunTestConsistentList(context.Background(), t, cached, u.tick, true, true, true)
	})
	t.Run("GetListNonRecursive", func(t *testing.T) {
		cached, u := newCached(t)
		storagetesting.RunTestGetListNonRecursive(context.Background(), t, u.tick, cached)
	})
	t.Run("WatchDispatchBookmarkEvents", func(t *testing.T) {
		cached, _ := newCached(t)
		storagetesting.RunTestWatchDispatchBookmarkEvents(context.Background(), t, cached, true)
	})
}

func newCached(t *testing.T) (storage.Interface, upstream) {
	u := newUpstream(t)
	cached, err := cacher.NewCacherFromConfig(cacher.Config{
		Storage: u.Store, Versioner: u.versioner, GroupResource: schema.GroupResource{Resource: "pods"},
		EventsHistoryWindow: cacher.DefaultEventFreshDuration, ResourcePrefix: "/pods/", KeyFunc: podKey,
		NewFunc: u.newFunc, NewListFunc: func() runtime.Object { return &example.PodList{} },
		GetAttrsFunc: podAttributes, Codec: u.codec, Indexers: &cache.Indexers{},
	})
	require.NoError(t, err)
	delegator := cacher.NewCacheDelegator(cached, u.Store)
	var once sync.Once
	t.Cleanup(func() {
		once.Do(func() {
			delegator.Stop()
			cached.Stop()
		})
	})
	require.NoError(t, cached.Wait(context.Background()))
	return delegator, u
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
