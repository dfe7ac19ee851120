package store

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/features"
	"k8s.io/apiserver/pkg/storage"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
	"k8s.io/apiserver/pkg/storage/value"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	featuregatetesting "k8s.io/component-base/featuregate/testing"
)

// notApplicable are the tests of upstream's suite that are not run on the bare
// store, or not under the watch cache, and why. All others are, and no check of
// theirs is weakened. One is different under the cache, in upstream's own tests
// too: a list that the cache answers reads no object and no page, so the three
// tests that count these have nothing to count; which lists the cache passes on
// is checked by List.
var notApplicable = struct{ bare, cached map[string]string }{
	bare: map[string]string{
		"OptionalWatchBookmarks": "bookmarks at the end of a watch are the watch cache's",
	},
	cached: map[string]string{
		"ProgressNotify":                 "the cache sends bookmarks of its own, and not what the storage tells",
		"WatchError":                     openedOnce,
		"WatchWithUnsafeDelete":          openedOnce,
		"GetListWithErrorAggregation":    openedOnce,
		"GetListWithoutErrorAggregation": openedOnce,
		"ListInconsistentContinuation":   "it begins with a limited list at revision 0, which the cache answers whole",
	},
}

// openedOnce: these break the reading of objects after they were written.
const openedOnce = "the cache holds objects that were opened before they broke, and goes on serving them"

// TestEveryTestOfTheSuiteIsRun compares what upstream exports with what this
// file runs, so that a newer upstream does not slip by.
func TestEveryTestOfTheSuiteIsRun(t *testing.T) {
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
			require.Regexp(t, `storagetesting\.`+name+`[(,]`, string(ours), "a test that upstream has and this file does not run")
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
	"OptionalWatchBookmarks":                 storagetesting.RunTestOptionalWatchBookmarksWithCorrectResourceVersion,
	"DeleteWithSuggestionAndMissingError": func(ctx context.Context, t *testing.T, s storage.Interface) {
		storagetesting.RunTestDeleteWithSuggestionAndMissingExpectedTransformOrDecodeError(ctx, t, s)
	},
}

// particular are the tests that look deeper, or need something done.
var particular = map[string]func(context.Context, *testing.T, subject){
	"Create": func(ctx context.Context, t *testing.T, s subject) { storagetesting.RunTestCreate(ctx, t, s, s.stored) },
	"List": func(ctx context.Context, t *testing.T, s subject) {
		storagetesting.RunTestList(ctx, t, s, s.compact, s.cached(), s.lists.KubernetesRecorder)
	},
	"ConsistentList": func(ctx context.Context, t *testing.T, s subject) {
		storagetesting.RunTestConsistentList(ctx, t, s, s.tick, s.cached(), true, s.cached())
	},
	"GetListNonRecursive": func(ctx context.Context, t *testing.T, s subject) {
		storagetesting.RunTestGetListNonRecursive(ctx, t, s.tick, s)
	},
	"ListContinuation": func(ctx context.Context, t *testing.T, s subject) {
		storagetesting.RunTestListContinuation(ctx, t, s, s.reads)
	},
	"ListPaginationRareObject": func(ctx context.Context, t *testing.T, s subject) {
		storagetesting.RunTestListPaginationRareObject(ctx, t, s, s.reads)
	},
	"ListContinuationWithFilter": func(ctx context.Context, t *testing.T, s subject) {
		storagetesting.RunTestListContinuationWithFilter(ctx, t, s, s.reads)
	},
	"ListInconsistentContinuation": func(ctx context.Context, t *testing.T, s subject) {
		storagetesting.RunTestListInconsistentContinuation(ctx, t, s, s.compact)
	},
	"ListResourceVersionMatch": func(ctx context.Context, t *testing.T, s subject) {
		storagetesting.RunTestListResourceVersionMatch(ctx, t, s)
	},
	"GuaranteedUpdate": func(ctx context.Context, t *testing.T, s subject) {
		storagetesting.RunTestGuaranteedUpdate(ctx, t, s, s.stored)
	},
	"GuaranteedUpdateChecksStoredData": func(ctx context.Context, t *testing.T, s subject) {
		storagetesting.RunTestGuaranteedUpdateChecksStoredData(ctx, t, s)
	},
	"TransformationFailure": func(ctx context.Context, t *testing.T, s subject) {
		storagetesting.RunTestTransformationFailure(ctx, t, s)
	},
	"Stats": func(ctx context.Context, t *testing.T, s subject) {
		storagetesting.RunTestStats(ctx, t, s, s.store.codec, s.store.transformer, true)
	},
	"CompactRevision": func(ctx context.Context, t *testing.T, s subject) {
		storagetesting.RunTestCompactRevision(ctx, t, s, s.tick, s.compact)
	},
	"WatchFromZero": func(ctx context.Context, t *testing.T, s subject) {
		storagetesting.RunTestWatchFromZero(ctx, t, s, s.compactWatches)
	},
	"WatchError": func(ctx context.Context, t *testing.T, s subject) { storagetesting.RunTestWatchError(ctx, t, s) },
	"WatchErrorIsBlockingFurtherEvents": func(ctx context.Context, t *testing.T, s subject) {
		storagetesting.RunWatchErrorIsBlockingFurtherEvents(ctx, t, s)
	},
	"ProgressNotify": func(ctx context.Context, t *testing.T, s subject) {
		storagetesting.RunOptionalTestProgressNotify(ctx, t, s, s.tick)
	},
	"WatchDispatchBookmarkEvents": func(ctx context.Context, t *testing.T, s subject) {
		storagetesting.RunTestWatchDispatchBookmarkEvents(ctx, t, s, s.cached())
	},
	"GetListWithErrorAggregation": func(ctx context.Context, t *testing.T, s subject) {
		storagetesting.RunTestGetListWithErrorAggregation(ctx, t, s, errFlipped)
	},
	"GetListWithoutErrorAggregation": func(ctx context.Context, t *testing.T, s subject) {
		featuregatetesting.SetFeatureGateDuringTest(t, utilfeature.DefaultFeatureGate, features.AllowUnsafeMalformedObjectDeletion, false)
		storagetesting.RunTestGetListWithoutErrorAggregation(ctx, t, s, errFlipped)
	},
	"WatchWithUnsafeDelete": func(ctx context.Context, t *testing.T, s subject) {
		storagetesting.RunTestWatchWithUnsafeDelete(ctx, t, s, errFlipped)
	},
}

var errFlipped = &corruptError{"it cannot be opened", errors.New("bits flipped")}

// breakable are the tests of objects that cannot be read: that break when they
// are opened, or when they are decoded.
var breakable = map[string]func(context.Context, *testing.T, storage.Interface, func(bool)){
	"DeleteWithConflictAndMissingExpectedTransformOrDecodeError": func(ctx context.Context, t *testing.T, s storage.Interface, breakIt func(bool)) {
		storagetesting.RunTestDeleteWithConflictAndMissingExpectedTransformOrDecodeError(ctx, t, s, breakIt)
	},
	"DeleteExpectedTransformOrDecodeError": func(ctx context.Context, t *testing.T, s storage.Interface, breakIt func(bool)) {
		storagetesting.RunTestDeleteExpectedTransformOrDecodeError(ctx, t, s, breakIt)
	},
}

type breakableTransformer struct {
	value.Transformer
	broken atomic.Bool
}

func (b *breakableTransformer) TransformFromStorage(ctx context.Context, data []byte, about value.Context) ([]byte, bool, error) {
	if b.broken.Load() {
		return nil, false, errors.New("broken")
	}
	return b.Transformer.TransformFromStorage(ctx, data, about)
}

type breakableCodec struct {
	runtime.Codec
	broken atomic.Bool
}

func (b *breakableCodec) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	if b.broken.Load() {
		return nil, nil, errors.New("broken")
	}
	return b.Codec.Decode(data, defaults, into)
}

func TestConformance(t *testing.T) { conform(t, bareSubject, notApplicable.bare) }

func TestConformanceUnderTheWatchCache(t *testing.T) { conform(t, cachedSubject, notApplicable.cached) }

func conform(t *testing.T, newSubject func(*testing.T, ...func(*ResourceOptions)) subject, except map[string]string) {
	ctx := context.Background()
	for name := range except {
		require.True(t, simple[name] != nil || particular[name] != nil, "%s is no test", name)
	}
	run := func(name string, test func(*testing.T)) {
		if except[name] == "" {
			t.Run(name, test)
		}
	}
	for name, test := range simple {
		run(name, func(t *testing.T) { test(ctx, t, newSubject(t)) })
	}
	for name, test := range particular {
		run(name, func(t *testing.T) { test(ctx, t, newSubject(t)) })
	}
	for name, test := range breakable {
		run(name+"/opening", func(t *testing.T) {
			transformer := &breakableTransformer{Transformer: storagetesting.NewPrefixTransformer([]byte(sealPrefix), false)}
			test(ctx, t, newSubject(t, func(o *ResourceOptions) { o.Transformer = transformer }), transformer.broken.Store)
		})
		run(name+"/decoding", func(t *testing.T) {
			codec := &breakableCodec{Codec: podCodec}
			test(ctx, t, newSubject(t, func(o *ResourceOptions) { o.Codec = codec }), codec.broken.Store)
		})
	}
}
