package store

import (
	"context"

	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/storage"
)

// maxBacklog is how many events wait for a client before the cache has to wait
// for it, too. A watch that begins with all objects sends them no faster than
// they are taken then; one of changes that the cache waits for is ended by it.
const maxBacklog = 4096

// backlogged lets a client of the watch cache be slow for a moment. The cache
// has room for some twenty events a watch, and ends a watch that does not take
// them within a tenth of a second, which all watches share and which comes back
// slowly: on a busy machine a burst, such as one transaction of many writes,
// arrives faster than a client's connection gets the processor. What waits here
// are references to what the cache holds anyway.
type backlogged struct{ storage.Interface }

func (b backlogged) Watch(ctx context.Context, key string, opts storage.ListOptions) (watch.Interface, error) {
	w, err := b.Interface.Watch(ctx, key, opts)
	if err != nil {
		return nil, err
	}
	p := &backlog{from: w, to: make(chan watch.Event)}
	ctx, p.cancel = context.WithCancel(ctx)
	go p.run(ctx)
	return p, nil
}

// backlog is a watch with events that wait for its receiver.
type backlog struct {
	from    watch.Interface
	to      chan watch.Event
	cancel  context.CancelFunc
	waiting []watch.Event
}

// Stop ends the watch.
func (b *backlog) Stop() { b.cancel() }

// ResultChan is closed when the watch ended.
func (b *backlog) ResultChan() <-chan watch.Event { return b.to }

// run passes on until either side ends. What waits when the cache ends the watch
// is still passed on.
func (b *backlog) run(ctx context.Context) {
	defer close(b.to)
	defer b.cancel()
	defer b.from.Stop()
	from := b.from.ResultChan()
	for from != nil || len(b.waiting) > 0 {
		var to chan<- watch.Event
		var next watch.Event
		if len(b.waiting) > 0 {
			to, next = b.to, b.waiting[0]
		}
		room := from
		if len(b.waiting) >= maxBacklog {
			room = nil
		}
		select {
		case e, open := <-room:
			if !open {
				from = nil
				break
			}
			b.waiting = append(b.waiting, e)
		case to <- next:
			b.waiting[0] = watch.Event{}
			b.waiting = b.waiting[1:]
		case <-ctx.Done():
			return
		}
	}
}
