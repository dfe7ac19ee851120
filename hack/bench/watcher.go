package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
)

// settleTimeout is how long after a phase its last event may come.
const settleTimeout = 20 * time.Second

// Seen is what a watcher saw since it was last asked.
type Seen struct {
	// Latencies of creations and updates: from before the write is sent until
	// the event is here. (What a deletion shows is the write before it.)
	Latencies []time.Duration
	Events    int64
	// Closures are watches that ended unasked; they are resumed, as a reflector does.
	Closures int64
	// Faults are events that were lost, repeated or out of order.
	Faults int64
	// First is the first fault.
	First string
}

// watcher follows all records and checks that it sees each write of each record
// exactly once, in the order in which they were made, at rising revisions.
type watcher struct {
	target target

	mu       sync.Mutex
	writes   map[string]int // by name: the last one seen
	revision uint64
	events   int64 // since the beginning
	seen     Seen
	wanted   int64
	reached  chan struct{}
}

func follow(t target) (*watcher, error) {
	ctx := context.Background()
	version, err := t.Now(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the revision: %w", err)
	}
	stream, err := openWatch(ctx, t, version)
	if err != nil {
		return nil, fmt.Errorf("watching: %w", err)
	}
	w := &watcher{target: t, writes: map[string]int{}}
	if w.revision, err = strconv.ParseUint(version, 10, 64); err != nil {
		return nil, err
	}
	go w.run(ctx, stream)
	return w, nil
}

// openWatch retries while a watch cache is being filled.
func openWatch(ctx context.Context, t target, version string) (stream watch.Interface, err error) {
	for begin := time.Now(); time.Since(begin) < settleTimeout; time.Sleep(10 * time.Millisecond) {
		stream, err = t.Watch(ctx, version)
		if !apierrors.IsTooManyRequests(err) {
			return stream, err
		}
	}
	return nil, err
}

func (w *watcher) run(ctx context.Context, stream watch.Interface) {
	for {
		for e := range stream.ResultChan() {
			w.see(e)
		}
		w.mu.Lock()
		w.seen.Closures++
		version := strconv.FormatUint(w.revision, 10)
		w.mu.Unlock()
		var err error
		if stream, err = openWatch(ctx, w.target, version); err != nil {
			w.mu.Lock()
			w.faultLocked("resuming the watch at %s: %v", version, err)
			w.mu.Unlock()
			return
		}
	}
}

func (w *watcher) see(e watch.Event) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	u, ok := e.Object.(*unstructured.Unstructured)
	if !ok || e.Type == watch.Error {
		w.faultLocked("%s: %v", e.Type, apierrors.FromObject(e.Object))
		return
	}
	w.events++
	w.seen.Events++
	if w.events == w.wanted {
		defer close(w.reached)
	}
	revision, err := strconv.ParseUint(u.GetResourceVersion(), 10, 64)
	if err != nil || revision <= w.revision {
		w.faultLocked("%s of %s at revision %q, after %d", e.Type, u.GetName(), u.GetResourceVersion(), w.revision)
	}
	w.revision = revision
	s, err := stampOf(u)
	if err != nil {
		w.faultLocked("%v", err)
		return
	}
	last := w.writes[u.GetName()]
	switch {
	case e.Type == watch.Deleted && s.write == last:
		delete(w.writes, u.GetName())
	case e.Type == watch.Added && last == 0 && s.write == 1, e.Type == watch.Modified && last != 0 && s.write == last+1:
		w.writes[u.GetName()] = s.write
		w.seen.Latencies = append(w.seen.Latencies, now.Sub(s.sent))
	default:
		w.faultLocked("%s shows write %d of %s, after %d", e.Type, s.write, u.GetName(), last)
	}
}

func (w *watcher) faultLocked(format string, args ...any) {
	w.seen.Faults++
	if w.seen.First == "" {
		w.seen.First = fmt.Sprintf(format, args...)
	}
}

// settle waits for the events of all writes, and begins a new count.
func (w *watcher) settle(writes int64) Seen {
	w.mu.Lock()
	if w.events < writes {
		w.wanted, w.reached = writes, make(chan struct{})
		reached := w.reached
		w.mu.Unlock()
		select {
		case <-reached:
		case <-time.After(settleTimeout):
		}
		w.mu.Lock()
	}
	defer w.mu.Unlock()
	if w.events != writes {
		w.faultLocked("%d events of %d writes", w.events, writes)
	}
	seen := w.seen
	w.seen, w.wanted = Seen{}, 0
	return seen
}
