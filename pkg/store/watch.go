package store

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/storage"
	utilflowcontrol "k8s.io/apiserver/pkg/util/flowcontrol"
)

const (
	// watchBuffer is how many events wait for a watcher; the rest waits in the log.
	watchBuffer = 100
	// progressInterval is how often an idle watcher is told how far it is.
	progressInterval = 5 * time.Second
)

// watcher sends what happens to the objects of a span.
type watcher struct {
	store  *Store
	ctx    context.Context
	cancel context.CancelFunc
	events chan watch.Event
	keys   span
	opts   storage.ListOptions
}

// Watch sends what happens after a revision; from revision 0, or where initial
// events are asked for, what is there first.
func (s *Store) Watch(ctx context.Context, key string, opts storage.ListOptions) (watch.Interface, error) {
	prefix, err := storage.PrepareKey(s.prefix, key, opts.Recursive)
	if err != nil {
		return nil, err
	}
	version, err := s.versioner.ParseResourceVersion(opts.ResourceVersion)
	if err != nil {
		return nil, err
	}
	start := int64(version)
	initial := start == 0
	if opts.SendInitialEvents != nil {
		initial = *opts.SendInitialEvents
	}
	if start == 0 && !initial {
		if start, err = s.backend.revision(ctx); err != nil {
			return nil, err
		}
	}
	w := &watcher{store: s, events: make(chan watch.Event, watchBuffer), keys: spanOf(prefix, opts.Recursive), opts: opts}
	w.ctx, w.cancel = context.WithCancel(ctx)
	go w.run(start, initial)
	utilflowcontrol.WatchInitialized(ctx) // until now the request held a seat of the flow control
	return w, nil
}

// Stop ends the watch.
func (w *watcher) Stop() { w.cancel() }

// ResultChan is closed when the watch ended.
func (w *watcher) ResultChan() <-chan watch.Event { return w.events }

func (w *watcher) run(start int64, initial bool) {
	defer close(w.events)
	defer w.cancel()
	watchers := w.store.backend.metrics.watchers
	watchers.Inc()
	defer watchers.Dec()
	var err error
	if initial {
		start, err = w.sendInitial(start)
	}
	if err == nil {
		err = w.follow(start)
	}
	if err == nil || w.ctx.Err() != nil {
		return
	}
	var status apierrors.APIStatus
	switch {
	case errors.Is(err, errCompacted):
		status = apierrors.NewResourceExpired("The resourceVersion for the provided watch is too old.")
	case !errors.As(err, &status):
		status = apierrors.NewInternalError(err)
	}
	answer := status.Status()
	w.send(watch.Event{Type: watch.Error, Object: &answer})
}

// send waits for the receiver; false means that the watch was ended.
func (w *watcher) send(e watch.Event) bool {
	select {
	case w.events <- e:
		return true
	case <-w.ctx.Done():
		return false
	}
}

// sendInitial sends what is there, and returns the revision that it was there at.
func (w *watcher) sendInitial(least int64) (int64, error) {
	p, err := w.store.backend.list(w.ctx, w.keys, 0, 0)
	if err != nil {
		return 0, err
	}
	if least > p.revision {
		return 0, storage.NewTooLargeResourceVersionError(uint64(least), uint64(p.revision), 1)
	}
	for i, r := range p.rows {
		obj, err := w.decode(r, r.revision)
		if err != nil {
			return 0, err
		}
		p.rows[i].data = nil // thousands of them take a while to decode
		if w.matches(obj) && !w.send(watch.Event{Type: watch.Added, Object: obj}) {
			return 0, w.ctx.Err()
		}
	}
	if w.opts.SendInitialEvents == nil || !w.opts.Predicate.AllowWatchBookmarks {
		return p.revision, nil
	}
	bookmark, err := w.bookmark(p.revision)
	if err == nil {
		err = storage.AnnotateInitialEventsEndBookmark(bookmark.Object)
	}
	if err == nil && !w.send(bookmark) {
		err = w.ctx.Err()
	}
	return p.revision, err
}

// follow sends the changes after a revision until the watch ends.
func (w *watcher) follow(seen int64) error {
	idle := time.NewTicker(progressInterval)
	defer idle.Stop()
	told := seen // the revision that the receiver knows of
	progress := w.store.backend.tail.now().progress
	for due := false; ; {
		v, err := w.store.backend.tail.since(w.ctx, seen, w.keys)
		if err != nil {
			return err
		}
		if told, err = w.sendChanges(v.changes, told); err != nil {
			return err
		}
		seen = max(seen, v.upTo)
		if w.opts.ProgressNotify && (v.progress != progress || due && told < seen) {
			bookmark, err := w.bookmark(seen)
			if err != nil {
				return err
			}
			if !w.send(bookmark) {
				return w.ctx.Err()
			}
			told = seen
		}
		progress = v.progress
		select {
		case <-w.ctx.Done():
			return nil
		case <-v.moved:
			due = false
		case <-idle.C:
			due = true
		}
	}
}

// sendChanges returns the last revision that the receiver was told.
func (w *watcher) sendChanges(changes []change, told int64) (int64, error) {
	for _, c := range changes {
		event, err := w.event(c)
		if err != nil {
			return told, err
		}
		if event == nil {
			continue
		}
		if !w.send(*event) {
			return told, w.ctx.Err()
		}
		told = c.revision
	}
	return told, nil
}

func (w *watcher) bookmark(revision int64) (watch.Event, error) {
	obj := w.store.newFunc()
	return watch.Event{Type: watch.Bookmark, Object: obj}, w.store.versioner.UpdateObject(obj, uint64(revision))
}

// decode makes an object that carries a revision: of a deletion, the deletion's.
func (w *watcher) decode(r row, revision int64) (runtime.Object, error) {
	data, _, err := w.store.open(w.ctx, r)
	if err != nil {
		return nil, err
	}
	obj, err := runtime.Decode(w.store.codec, data)
	if err != nil {
		return nil, err
	}
	w.store.parts.share(obj)
	return obj, w.store.versioner.UpdateObject(obj, uint64(revision))
}

func (w *watcher) matches(obj runtime.Object) bool {
	if w.opts.Predicate.Empty() {
		return true
	}
	matches, err := w.opts.Predicate.Matches(obj)
	return err == nil && matches
}

// event is what a change is to this watcher: an object that comes to match the
// filter is added to its world, one that ceases to is deleted. Nil is nothing.
func (w *watcher) event(c change) (*watch.Event, error) {
	var now, before runtime.Object
	var err error
	if c.data != nil {
		if now, err = w.decode(row{key: c.key, data: c.data}, c.revision); err != nil {
			return nil, err
		}
	}
	if c.previous != nil && (c.data == nil || !w.opts.Predicate.Empty()) {
		if before, err = w.decode(row{key: c.key, data: c.previous}, c.revision); err != nil {
			if c.data == nil {
				err = deletedUnread(err)
			}
			return nil, err
		}
	}
	is := now != nil && w.matches(now)
	was := c.previousRevision != 0 && (before == nil || w.matches(before))
	switch {
	case is && was:
		return &watch.Event{Type: watch.Modified, Object: now}, nil
	case is:
		return &watch.Event{Type: watch.Added, Object: now}, nil
	case was:
		return &watch.Event{Type: watch.Deleted, Object: before}, nil
	}
	return nil, nil
}
