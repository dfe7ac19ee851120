package rtctl

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// follow tells of each object of a resource, and of its changes until ctx ends. A
// manager that is away is waited for.
func follow(ctx context.Context, client *rest.RESTClient, resource, namespace string, of runtime.Object) <-chan watch.Event {
	list := cache.NewListWatchFromClient(client, resource, namespace, fields.Everything())
	_, _, watcher, _ := watchtools.NewIndexerInformerWatcherWithLogger(logr.Discard(), list, of)
	context.AfterFunc(ctx, watcher.Stop)
	return watcher.ResultChan()
}

// watch tells of each change of a game's drift until ctx ends. What was seen is
// told already.
func (t driftTeller) watch(ctx context.Context, client *rest.RESTClient, scope driftScope, seen *drifts) {
	records := follow(ctx, client, "gameruntimes", scope.namespace, &v1alpha1.GameRuntime{})
	reports := follow(ctx, client, "driftreports", "", &v1alpha1.DriftReport{})
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-records:
			if record, ok := event.Object.(*v1alpha1.GameRuntime); ok {
				t.recordChanged(record, event.Type == watch.Deleted, scope, seen)
			}
		case event := <-reports:
			if report, ok := event.Object.(*v1alpha1.DriftReport); ok {
				t.reportChanged(report, scope, seen)
			}
		}
	}
}

func (t driftTeller) recordChanged(record *v1alpha1.GameRuntime, gone bool, scope driftScope, seen *drifts) {
	game := record.Namespace + "/" + record.Name
	switch {
	case !scope.holds(game):
	case gone:
		delete(seen.records, game)
		t.changed(game, "has no record any more", nil, seen)
	default:
		seen.records[game] = true
		t.changed(game, "is in sync", driftOf(record), seen)
	}
}

// reportChanged looks at the containers without a record, those that are no more
// among them.
func (t driftTeller) reportChanged(report *v1alpha1.DriftReport, scope driftScope, seen *drifts) {
	orphans := scope.orphans(report)
	for _, game := range seen.differing() {
		if !seen.records[game] && orphans[game] == nil {
			t.changed(game, "has no container without a record any more", nil, seen)
		}
	}
	for game, items := range orphans {
		if !seen.records[game] {
			t.changed(game, "", items, seen)
		}
	}
}

// changed tells of a game's drift if it is another one than was told of last.
func (t driftTeller) changed(game, mended string, items []v1alpha1.DriftItem, seen *drifts) {
	before := seen.items[game]
	seen.items[game] = items
	if equality.Semantic.DeepEqual(before, items) {
		return
	}
	at := t.now().Format(time.TimeOnly)
	if len(items) == 0 {
		fmt.Fprintf(t.out, "%s %s\n", at, t.palette.paint(green, game+" "+mended))
		return
	}
	fmt.Fprint(t.out, at, " ")
	t.tell(game, items)
}
