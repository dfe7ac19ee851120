package rest

import (
	"fmt"
	"strconv"
	"sync"

	"k8s.io/client-go/tools/cache"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// Informer tells of records as they change: a cache.SharedIndexInformer of
// *v1alpha1.GameRuntime, or controller-runtime's view of one.
type Informer interface {
	AddEventHandler(cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error)
	RemoveEventHandler(cache.ResourceEventHandlerRegistration) error
}

// watch hands what one informer tells to all who wait for a game.
type watch struct {
	namespace string
	stop      func()

	mu     sync.Mutex
	sights map[string]map[*sight]struct{}
}

// sight is what one caller sees of a game from its request on.
type sight struct {
	// news has a token when there is something to see.
	news  chan struct{}
	close func()

	mu   sync.Mutex
	last *v1alpha1.GameRuntime
	gone bool
}

func newWatch(informer Informer, namespace string) (*watch, error) {
	w := &watch{namespace: namespace, sights: map[string]map[*sight]struct{}{}}
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { w.tell(object, false) },
		UpdateFunc: func(_, object any) { w.tell(object, false) },
		DeleteFunc: func(object any) { w.tell(object, true) },
	})
	if err != nil {
		return nil, fmt.Errorf("watching the records: %w", err)
	}
	w.stop = func() { _ = informer.RemoveEventHandler(registration) } // it may have ended before
	return w, nil
}

func (w *watch) tell(object any, gone bool) {
	if tombstone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = tombstone.Obj
	}
	record, ok := object.(*v1alpha1.GameRuntime)
	if !ok || record.Namespace != w.namespace {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.sights[record.Name] {
		s.see(record, gone)
	}
}

// game begins to see what becomes of a game. The sight has to be closed.
func (w *watch) game(name string) *sight {
	s := &sight{news: make(chan struct{}, 1)}
	s.close = func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.sights[name], s)
		if len(w.sights[name]) == 0 {
			delete(w.sights, name)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sights[name] == nil {
		w.sights[name] = map[*sight]struct{}{}
	}
	w.sights[name][s] = struct{}{}
	return s
}

func (s *sight) see(record *v1alpha1.GameRuntime, gone bool) {
	s.mu.Lock()
	s.last, s.gone = record, gone
	s.mu.Unlock()
	select {
	case s.news <- struct{}{}:
	default: // there is something to see already
	}
}

// newer is the record as it was seen last, nil if it is gone, or the given one if
// that is newer: the informer lags behind what was written.
func (s *sight) newer(than *v1alpha1.GameRuntime) *v1alpha1.GameRuntime {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.last == nil || than == nil:
		return than
	case s.gone && s.last.UID == than.UID: // a uid never comes back
		return nil
	case s.gone || revision(s.last) < revision(than):
		return than
	default:
		return s.last
	}
}

// revision orders the states of a record.
func revision(record *v1alpha1.GameRuntime) uint64 {
	n, err := strconv.ParseUint(record.ResourceVersion, 10, 64)
	if err != nil {
		return 0 // the API's are numbers
	}
	return n
}
