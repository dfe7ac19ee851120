package streams

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/redis/go-redis/v9"

	"galaxy.io/runtime-manager/pkg/journal"
)

const (
	// together is how many messages of a stream are published at once.
	together = 500
	// roundTimeout bounds one round; one that is in hand is finished when the relay
	// is to end.
	roundTimeout = 10 * time.Second
	// Between rounds that fail is a delay that doubles, give or take a half.
	firstRetry, lastRetry = 100 * time.Millisecond, 5 * time.Second
	// unlessTold is how often the outbox is looked at without being told.
	unlessTold = 10 * time.Second
)

// RelayOptions are what a relay is made of.
type RelayOptions struct {
	Outbox journal.Outbox
	Redis  *redis.Client
	// MaxLen is how many entries a stream keeps, give or take a hundred or so; 0 is
	// all of them.
	MaxLen int64
	Log    logr.Logger
	// Poll is how often the outbox is looked at, and measured, without being told;
	// 10 s if zero.
	Poll time.Duration
}

// Relay publishes what waits in the outbox, in the order of each stream, and then
// notes that it did.
//
// A message is published again, with the same id, if nobody knows whether it was:
// after a crash, or an answer that was lost; and if Redis lost it, as one does
// that was emptied or replaced by a copy from earlier. Of the first entries of
// each id, the order stays that of the outbox, even where two relays overlap as
// the lead goes from one to the other: neither publishes a message while one
// before it is unpublished.
type Relay struct {
	options RelayOptions
	log     logr.Logger
	metrics metrics
	news    chan struct{}
	began   atomic.Bool

	// unnoted are published and not yet noted in the outbox.
	unnoted []journal.Publication
	// reached is the time of each stream's newest entry of ours, by Redis's clock;
	// nil until it is known.
	reached map[string]time.Time
	failing bool
}

// NewRelay returns a relay that does nothing until it is started.
func NewRelay(options RelayOptions) *Relay {
	if options.Poll == 0 {
		options.Poll = unlessTold
	}
	return &Relay{options: options, log: options.Log, metrics: newMetrics(), news: make(chan struct{}, 1)}
}

// Start publishes until ctx ends.
func (r *Relay) Start(ctx context.Context) error {
	r.began.Store(true)
	var others sync.WaitGroup
	defer others.Wait()
	others.Go(func() { r.options.Outbox.Listen(ctx, r.log, func() { wake(r.news) }) })
	others.Go(func() { r.measure(ctx) })
	var delay time.Duration
	for ctx.Err() == nil {
		more, err := r.round(context.WithoutCancel(ctx))
		r.say(err)
		switch {
		case err != nil:
			delay = min(max(2*delay, firstRetry), lastRetry)
			r.rest(ctx, delay/2+rand.N(delay), answers(err))
		case more:
			delay = 0
		default:
			delay = 0
			r.rest(ctx, r.options.Poll, true)
		}
	}
	return nil
}

// Flush publishes what waits once nobody writes any more, or as much of it as
// there is time for. It does nothing if the relay was never started, and must not
// run beside Start.
func (r *Relay) Flush(ctx context.Context) {
	if !r.began.Load() {
		return
	}
	more, err := true, error(nil)
	for more && err == nil && ctx.Err() == nil {
		more, err = r.round(ctx)
	}
	if err != nil || ctx.Err() != nil {
		r.log.Info("messages are left to the manager that leads next")
	}
}

// rest waits, and no longer than until there is news if that is of use.
func (r *Relay) rest(ctx context.Context, delay time.Duration, untilNews bool) {
	news := r.news
	if !untilNews {
		news = nil
	}
	select {
	case <-ctx.Done():
	case <-news:
	case <-time.After(delay):
	}
}

// answers says that Redis is there, and has something against one stream: others
// are not to wait for it.
func answers(err error) bool {
	var refusal redis.Error
	return errors.As(err, &refusal)
}

// say logs when it begins to fail, and when that is over.
func (r *Relay) say(err error) {
	switch {
	case err != nil:
		r.metrics.failures.Inc()
		if !r.failing {
			r.log.Info("messages cannot be published, they wait", "reason", err.Error())
		}
	case r.failing:
		r.log.Info("messages are published again")
	}
	r.failing = err != nil
}

// round publishes a part of what waits, and says whether there may be more.
func (r *Relay) round(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	if err := r.note(ctx); err != nil {
		return false, err
	}
	if err := r.recall(ctx); err != nil {
		return false, err
	}
	messages, err := r.options.Outbox.Waiting(ctx, together)
	if err != nil || len(messages) == 0 {
		return false, err
	}
	err = r.publish(ctx, messages)
	return len(messages) >= together, errors.Join(err, r.note(ctx))
}

// publish adds messages in one transaction: if one of a stream is refused, so are
// those after it.
func (r *Relay) publish(ctx context.Context, messages []journal.Message) error {
	entries := make([]*redis.StringCmd, len(messages))
	_, err := r.options.Redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for i, m := range messages {
			entries[i] = p.XAdd(ctx, &redis.XAddArgs{
				Stream: m.Stream, MaxLen: r.options.MaxLen, Approx: r.options.MaxLen > 0, Values: fields(m),
			})
		}
		return nil
	})
	for i, m := range messages {
		if at, ok := moment(entries[i].Val()); ok && entries[i].Err() == nil {
			r.unnoted = append(r.unnoted, journal.Publication{ID: m.ID, At: at})
			r.reached[m.Stream] = at
			r.metrics.published.WithLabelValues(m.Stream).Inc()
		}
	}
	if err != nil {
		return fmt.Errorf("writing to Redis: %w", err)
	}
	return nil
}

// fields are an entry as others read it. Fields may be added to it, and none is
// renamed or removed.
func fields(m journal.Message) []any {
	return []any{
		"id", m.ID, "type", m.Type, "game", m.Game, "created_at_ms", m.CreatedAt.UnixMilli(), "payload", string(m.Payload),
	}
}

// note writes down what was published. What cannot be noted is not published
// again by us.
func (r *Relay) note(ctx context.Context) error {
	if len(r.unnoted) == 0 {
		return nil
	}
	if err := r.options.Outbox.Published(ctx, r.unnoted); err != nil {
		return err
	}
	r.unnoted = nil
	return nil
}

// recall has those published again that Redis acknowledged and lost: a stream is
// not where we brought it to. What it was trimmed of, or others deleted from it,
// is not lost.
func (r *Relay) recall(ctx context.Context) (err error) {
	if r.reached == nil {
		if r.reached, err = r.options.Outbox.Reached(ctx); err != nil {
			return err
		}
	}
	for stream, reached := range r.reached {
		newest, known, err := r.newest(ctx, stream)
		if err != nil {
			return err
		}
		if !known || !newest.Before(reached) {
			continue
		}
		lost, err := r.options.Outbox.Recall(ctx, stream, newest)
		if err != nil {
			return err
		}
		r.log.Info("Redis lost messages that it had acknowledged, publishing them again",
			"stream", stream, "messages", lost, "since", newest)
		r.metrics.recalled.WithLabelValues(stream).Add(float64(lost))
		delete(r.reached, stream) // until it is written to again
	}
	return nil
}

// newest is the time of a stream's newest entry, whether it is still there or was
// deleted; zero for a stream that is not there. It is not known where Redis has
// something against the question: then writing says what is wrong.
func (r *Relay) newest(ctx context.Context, stream string) (at time.Time, known bool, err error) {
	info, err := r.options.Redis.XInfoStream(ctx, stream).Result()
	switch {
	case redis.HasErrorPrefix(err, "no such key"):
		return time.Time{}, true, nil
	case err != nil && answers(err):
		return time.Time{}, false, nil
	case err != nil:
		return time.Time{}, false, fmt.Errorf("asking Redis for the stream %s: %w", stream, err)
	}
	at, known = moment(info.LastGeneratedID)
	return at, known, nil
}

// moment is when an entry was made, as its id tells: 1795608070000-0.
func moment(entry string) (at time.Time, ok bool) {
	millis, _, _ := strings.Cut(entry, "-")
	n, err := strconv.ParseInt(millis, 10, 64)
	return time.UnixMilli(n), err == nil
}

// measure counts what waits until ctx ends.
func (r *Relay) measure(ctx context.Context) {
	for ctx.Err() == nil {
		count, cancel := context.WithTimeout(ctx, roundTimeout)
		if waiting, oldest, err := r.options.Outbox.Backlog(count); err == nil { // what cannot be counted goes on getting older
			r.metrics.measured(waiting, oldest)
		}
		cancel()
		select {
		case <-ctx.Done():
		case <-time.After(r.options.Poll):
		}
	}
}
