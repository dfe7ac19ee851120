package journal

import (
	"context"
	"time"
)

const (
	// writeTimeout bounds one transaction.
	writeTimeout = 10 * time.Second
	// writeRetry is the delay before outcomes that could not be written are
	// tried again.
	writeRetry = 500 * time.Millisecond
)

// beginning is an intent that waits to be durable.
type beginning struct {
	Intent
	done chan error
}

// commit waits until an intent is written.
func (j *Journal) commit(ctx context.Context, intent Intent) error {
	b := &beginning{Intent: intent, done: make(chan error, 1)}
	j.mu.Lock()
	j.begun = append(j.begun, b)
	j.mu.Unlock()
	j.wake()
	select {
	case err := <-b.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-j.closed:
		return errClosed
	}
}

func (j *Journal) wake() {
	select {
	case j.news <- struct{}{}:
	default: // it is awake
	}
}

// write writes in groups: what comes in during one transaction shares the next.
func (j *Journal) write() {
	defer close(j.closed)
	failing := false
	for open := true; open; {
		select {
		case <-j.news:
		case <-j.closing:
			open = false
		}
		begun, finished := j.take()
		if len(begun) == 0 && len(finished) == 0 {
			continue
		}
		err := j.writeGroup(begun, finished)
		switch {
		case err == nil && failing:
			j.log.Info("the journal is written again")
		case err != nil && !failing:
			j.log.Info("the journal cannot be written", "reason", err.Error())
		}
		if failing = err != nil; failing && open {
			j.pause()
		}
	}
}

// pause keeps outcomes that could not be written from being tried without end.
func (j *Journal) pause() {
	select {
	case <-time.After(writeRetry):
		j.wake()
	case <-j.closing:
	}
}

// writeGroup refuses intents that cannot be written, as nothing may be done
// then; outcomes wait.
func (j *Journal) writeGroup(begun []*beginning, finished map[string]Result) error {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	intents := make([]Intent, len(begun))
	for i, b := range begun {
		intents[i] = b.Intent
	}
	err := j.rows.Write(ctx, intents, finished)
	if err != nil {
		j.putBack(finished)
	}
	for _, b := range begun {
		b.done <- err
	}
	return err
}

func (j *Journal) take() (begun []*beginning, finished map[string]Result) {
	j.mu.Lock()
	defer j.mu.Unlock()
	begun, finished = j.begun, j.finished
	j.begun, j.finished = nil, map[string]Result{}
	return begun, finished
}

// putBack leaves alone what was said of an intent since.
func (j *Journal) putBack(finished map[string]Result) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for id, result := range finished {
		if _, newer := j.finished[id]; !newer {
			j.finished[id] = result
		}
	}
}
