package streams

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"galaxy.io/runtime-manager/pkg/journal"
)

const (
	// group is the consumer group of all managers. Where it stands follows from the
	// offsets in the database.
	group = "runtime-manager"
	// readTogether is how many entries of a stream are accepted in one transaction.
	readTogether = 100
)

// jobStreams in the order in which jobs of one millisecond are taken.
var jobStreams = []string{StartJobs, StopJobs}

// entry is one of a stream.
type entry struct {
	stream string
	id     entryID
	redis.XMessage
}

// reading is what the one who reads knows.
type reading struct {
	*Intake
	reader  *journal.Reader
	offsets map[string]journal.Offset
	// pending: what was read by others, or by us before, is not looked through yet.
	pending map[string]bool
}

// read reads for as long as that goes well, if nobody else does.
func (i *Intake) read(ctx context.Context, well func()) error {
	reader, err := i.Jobs.Hold(ctx)
	if err != nil {
		return err
	}
	if reader == nil {
		well()
		rest(ctx, i.Glance)
		return nil
	}
	defer reader.Release()
	r := &reading{Intake: i, reader: reader, pending: map[string]bool{}}
	if err := r.attach(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		err := r.round(ctx)
		if errors.Is(err, errBegunAnew) {
			err = r.attach(ctx)
		}
		if err != nil {
			return err
		}
		well()
	}
	return nil
}

// attach has the group go on where the database says. What was read and not
// accepted is read once more.
func (r *reading) attach(ctx context.Context) (err error) {
	if r.offsets, err = r.reader.Offsets(ctx); err != nil {
		return err
	}
	for _, stream := range jobStreams {
		offset, known := r.offsets[stream]
		if !known {
			offset = journal.Offset{Stream: stream, Entry: entryID{}.String(), Position: -1}
		}
		r.offsets[stream], r.pending[stream] = offset, true
		err := r.Redis.XGroupCreateMkStream(ctx, stream, group, offset.Entry).Err()
		if err == nil && known {
			r.Log.Info("the consumer group of a stream was gone, and is there again", "stream", stream, "from", offset.Entry)
		}
		if err != nil && strings.HasPrefix(err.Error(), "BUSYGROUP") {
			err = r.Redis.XGroupSetID(ctx, stream, group, offset.Entry).Err()
		}
		if err != nil {
			return fmt.Errorf("attaching to %s: %w", stream, err)
		}
	}
	return nil
}

// round accepts what is there to read, or waits for it.
func (r *reading) round(ctx context.Context) error {
	for _, stream := range jobStreams {
		state, err := r.look(ctx, stream)
		if err != nil {
			return err
		}
		theirs := state.pending > 0 && !r.pending[stream] // and not counted as read: nothing can be compared before
		if !theirs {
			if err := r.compare(ctx, stream, state.stream); err != nil {
				return err
			}
		}
		if state.pending > 0 {
			if err := r.reclaim(ctx, stream); err != nil {
				return err
			}
		}
		r.pending[stream] = false
	}
	entries, err := r.wait(ctx)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return r.reader.Alive(ctx)
	}
	for _, e := range entries {
		r.pass(e.stream, e.id, 1)
	}
	return r.accept(ctx, entries)
}

// state is how a stream and our group on it stand.
type state struct {
	stream  *redis.XInfoStream
	pending int64
}

func (r *reading) look(ctx context.Context, stream string) (state, error) {
	both := r.Redis.TxPipeline() // of one moment
	info, groups := both.XInfoStream(ctx, stream), both.XInfoGroups(ctx, stream)
	if _, err := both.Exec(ctx); err != nil {
		return state{}, fmt.Errorf("looking at %s: %w", stream, err)
	}
	at := slices.IndexFunc(groups.Val(), func(g redis.XInfoGroup) bool { return g.Name == group })
	if at < 0 {
		return state{}, fmt.Errorf("%s has no consumer group %s", stream, group)
	}
	return state{info.Val(), groups.Val()[at].Pending}, nil
}

// errBegunAnew has the group attached again.
var errBegunAnew = errors.New("a stream has begun anew")

// compare finds out what became of a stream since it was read last: whether it is
// still the same one, and what went from it unread.
func (r *reading) compare(ctx context.Context, stream string, info *redis.XInfoStream) error {
	offset := r.offsets[stream]
	at, last, first := parseEntryID(offset.Entry), parseEntryID(info.LastGeneratedID), parseEntryID(info.FirstEntry.ID)
	switch behind := last.compare(at) < 0; {
	case offset.Position < 0: // what went before we knew of the stream is nobody's loss
		offset.Position = info.EntriesAdded - info.Length
	case behind || info.EntriesAdded < offset.Position:
		r.Log.Info("a stream was emptied, or replaced by an older copy: what was not read before is lost", "stream", stream,
			"read", offset.Entry, "last", info.LastGeneratedID, "entries", info.Length)
		offset.Position = info.EntriesAdded - info.Length
		if behind {
			offset.Entry = r.beginning().String()
			if err := r.reader.Begin(ctx, offset); err != nil {
				return err
			}
			return errBegunAnew
		}
	}
	unread := int64(-1) // not known
	switch {
	case info.Length == 0 || last == at:
		unread = 0
	case first.compare(at) > 0:
		unread = info.Length
	}
	if unread >= 0 {
		if missed := info.EntriesAdded - offset.Position - unread; missed > 0 {
			r.miss(stream, missed, offset.Entry)
		}
		offset.Position = info.EntriesAdded - unread
	}
	r.offsets[stream] = offset
	r.metrics.behind.WithLabelValues(stream).Set(float64(info.EntriesAdded - offset.Position))
	return nil
}

func (r *reading) miss(stream string, entries int64, after string) {
	r.Log.Info("entries went from a stream before they were read", "stream", stream, "entries", entries, "after", after)
	r.metrics.missed.WithLabelValues(stream).Add(float64(entries))
}

// beginning is where a stream that began anew is read from. It may hold jobs that
// we had before; those that are no longer known are too old to be looked at.
func (r *reading) beginning() entryID {
	if r.Remember == 0 {
		return entryID{}
	}
	return entryID{ms: uint64(max(0, time.Now().Add(-r.Remember).UnixMilli()))}
}

// pass moves what we know of a stream on behind an entry.
func (r *reading) pass(stream string, id entryID, entries int64) {
	offset := r.offsets[stream]
	offset.Position += entries
	if id.compare(parseEntryID(offset.Entry)) > 0 {
		offset.Entry = id.String()
	}
	r.offsets[stream] = offset
}

// reclaim takes what was given to another reader, or to us, and not acknowledged.
// Of what was there when we attached, only what stands before the offset is left to
// be acknowledged: all else is read again.
func (r *reading) reclaim(ctx context.Context, stream string) error {
	for from := "0-0"; ; {
		claimed, deleted, next, err := r.claimPage(ctx, stream, from)
		if err != nil {
			return fmt.Errorf("taking over what others read of %s: %w", stream, err)
		}
		var entries []entry
		read := parseEntryID(r.offsets[stream].Entry)
		for _, message := range claimed {
			e := entry{stream, parseEntryID(message.ID), message}
			switch first := r.pending[stream]; {
			case first && e.id.compare(read) > 0:
				continue
			case !first:
				r.pass(stream, e.id, 1)
			}
			entries = append(entries, e)
		}
		if len(deleted) > 0 && !r.pending[stream] {
			r.miss(stream, int64(len(deleted)), deleted[0])
			r.pass(stream, entryID{}, int64(len(deleted)))
		}
		if len(entries) > 0 {
			if err := r.accept(ctx, entries); err != nil {
				return err
			}
		}
		if from = next; from == "0-0" {
			return nil
		}
	}
}

func (r *reading) claimPage(ctx context.Context, stream, from string) (claimed []redis.XMessage, deleted []string, next string, err error) {
	claimed, next, deleted, err = r.Redis.XAutoClaimWithDeleted(ctx, &redis.XAutoClaimArgs{
		Stream: stream, Group: group, Consumer: r.Manager, Start: from, Count: readTogether,
	}).Result()
	return claimed, deleted, next, err
}

// wait returns what is new, in order, or nothing after a while.
func (r *reading) wait(ctx context.Context) ([]entry, error) {
	streams := slices.Clone(jobStreams)
	for range jobStreams {
		streams = append(streams, ">")
	}
	read, err := r.Redis.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: group, Consumer: r.Manager, Streams: streams, Count: readTogether, Block: r.Glance,
	}).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the streams of jobs: %w", err)
	}
	var entries []entry
	for _, stream := range read {
		for _, message := range stream.Messages {
			entries = append(entries, entry{stream.Stream, parseEntryID(message.ID), message})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.id.ms, b.id.ms), cmp.Compare(a.stream, b.stream), cmp.Compare(a.id.n, b.id.n))
	})
	return entries, nil
}

// accept makes entries jobs, or answers them, and acknowledges them.
func (r *reading) accept(ctx context.Context, entries []entry) error {
	var arrivals []journal.Arrival
	var asides []journal.Reply
	jobs := map[[2]string]journal.Job{} // by stream and entry
	for _, e := range entries {
		r.metrics.received.WithLabelValues(e.stream).Inc()
		job, wrong := parse(e.stream, e.XMessage)
		jobs[[2]string{job.Stream, job.Entry}] = job
		switch {
		case wrong == nil:
			arrivals = append(arrivals, journal.Arrival{Job: job})
			continue
		case job.ID == "":
			asides = append(asides, r.aside(job, refusal(wrong)))
		default:
			answer := r.answer(job, refusal(wrong))
			arrivals = append(arrivals, journal.Arrival{Job: job, Reply: &answer})
		}
		r.metrics.refused.WithLabelValues(e.stream).Inc()
	}
	repeats, err := r.reader.Accept(ctx, arrivals, r.JobTimeout, r.moved(entries))
	if err != nil {
		return err
	}
	for _, repeat := range repeats {
		job := jobs[[2]string{repeat.Stream, repeat.Entry}]
		asides = append(asides, r.aside(job, repetition(repeat.Result)))
	}
	if err := r.Jobs.Reply(ctx, asides); err != nil {
		return err
	}
	wake(r.arrived)
	return r.acknowledge(ctx, entries)
}

// moved are the offsets of the streams that entries are from.
func (r *reading) moved(entries []entry) (offsets []journal.Offset) {
	for _, stream := range jobStreams {
		if slices.ContainsFunc(entries, func(e entry) bool { return e.stream == stream }) {
			offsets = append(offsets, r.offsets[stream])
		}
	}
	return offsets
}

func (r *reading) acknowledge(ctx context.Context, entries []entry) error {
	_, err := r.Redis.Pipelined(ctx, func(all redis.Pipeliner) error {
		for _, stream := range jobStreams {
			var ids []string
			for _, e := range entries {
				if e.stream == stream {
					ids = append(ids, e.ID)
				}
			}
			if len(ids) > 0 {
				all.XAck(ctx, stream, group, ids...)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("acknowledging jobs: %w", err)
	}
	return nil
}
