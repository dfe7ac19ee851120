package store

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/apiserver/pkg/storage"
)

// createPods writes as fast as it can.
func createPods(t *testing.T, s storage.Interface, first, n int) {
	t.Helper()
	var writers sync.WaitGroup
	for i := range 32 {
		writers.Go(func() {
			for j := first + i; j < first+n; j += 32 {
				pod := &example.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("p%d", j), Namespace: "default"}}
				if err := s.Create(context.Background(), "/pods/default/"+pod.Name, pod, nil, 0); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
}

// drain receives until the watch ends, or n events came.
func drain(t *testing.T, w watch.Interface, n int) (events []watch.Event, open bool) {
	t.Helper()
	for len(events) < n {
		select {
		case e, open := <-w.ResultChan():
			if !open {
				return events, false
			}
			events = append(events, e)
		case <-time.After(30 * time.Second):
			t.Fatalf("%d events of %d, and no more", len(events), n)
		}
	}
	return events, true
}

// The cache gives a watch up that takes nothing for some 50 ms, by the clock on
// the wall: on a host that is busy for that long, one that takes at once as well.
// So one burst of three has to come through; without a backlog none does.
func TestABurstEndsNoWatchOfAClientThatIsSlowForAMoment(t *testing.T) {
	const burst = maxBacklog - 100
	for range 3 {
		if events, open := watchBurst(t, burst); open {
			previous := uint64(0)
			for _, e := range events {
				version, err := storage.APIObjectVersioner{}.ObjectResourceVersion(e.Object)
				require.NoError(t, err)
				require.Greater(t, version, previous, "in order, and once")
				previous = version
			}
			return
		}
	}
	t.Fatal("each burst ended its watch")
}

// watchBurst has a client take nothing before a burst is over.
func watchBurst(t *testing.T, burst int) (events []watch.Event, open bool) {
	t.Helper()
	s := cachedSubject(t)
	w, err := backlogged{s.Interface}.Watch(context.Background(), "/pods/", storage.ListOptions{ResourceVersion: "1", Predicate: storage.Everything, Recursive: true})
	require.NoError(t, err)
	defer w.Stop()
	createPods(t, s, 0, burst)
	return drain(t, w, burst)
}

func TestTheCacheWaitsForAClientThatStaysBehind(t *testing.T) {
	const all = 3 * maxBacklog // as a watch begins that sends every object first
	source := watch.NewFake()
	w := &backlog{from: source, to: make(chan watch.Event)}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w.cancel = cancel
	go w.run(ctx)
	var sent atomic.Int32
	go func() {
		for range all {
			source.Add(newPod())
			sent.Add(1)
		}
		source.Stop()
	}()
	require.Eventually(t, func() bool { return sent.Load() == maxBacklog }, 30*time.Second, time.Millisecond)
	events, open := drain(t, w, all)
	require.True(t, open)
	require.Len(t, events, all)
	_, open = <-w.ResultChan()
	require.False(t, open, "it ends with the cache's")
}
