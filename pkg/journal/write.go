package journal

import (
	"context"
	"errors"
	"time"
)

const (
	// writeTimeout bounds one transaction.
	writeTimeout = 10 * time.Second
	// writeRetry is the delay before what could not be written is tried again.
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
	wake(j.news)
	select {
	case err := <-b.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-j.closed:
		return errClosed
	}
}

func wake(writer chan<- struct{}) {
	select {
	case writer <- struct{}{}:
	default: // it is awake
	}
}

// inGroups writes when there is news, and once more at the end: what comes in
// during one transaction shares the next. write says whether there was anything.
func (j *Journal) inGroups(what string, news chan struct{}, write func() (wrote bool, err error)) {
	failing := false
	for open := true; open; {
		select {
		case <-news:
		case <-j.closing:
			open = false
		}
		wrote, err := write()
		switch {
		case !wrote:
			continue
		case err == nil && failing:
			j.log.Info("the " + what + " is written again")
		case err != nil && !failing:
			j.log.Info("the "+what+" cannot be written", "reason", err.Error())
		}
		if failing = err != nil; failing && open {
			j.rest(writeRetry)
			wake(news)
		}
	}
}

// rest pauses a writer, unless the journal is about to be closed.
func (j *Journal) rest(pause time.Duration) {
	select {
	case <-time.After(pause):
	case <-j.closing:
	}
}

// writeOperations writes the intents and outcomes that wait. Intents that cannot
// be written are refused, as nothing may be done then; outcomes wait.
func (j *Journal) writeOperations() (wrote bool, err error) {
	term, begun, finished := j.take()
	if len(begun) == 0 && len(finished) == 0 {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	intents := make([]Intent, len(begun))
	for i, b := range begun {
		intents[i] = b.Intent
	}
	began := time.Now()
	err = j.rows.Write(ctx, term, intents, finished)
	if err != nil && !errors.Is(err, ErrLedSince) {
		j.putBack(finished)
	}
	j.metrics.committed(ofOperations, began, err)
	for _, b := range begun {
		b.done <- err
	}
	return true, err
}

func (j *Journal) take() (term int64, begun []*beginning, finished map[string]Result) {
	j.mu.Lock()
	defer j.mu.Unlock()
	begun, finished = j.begun, j.finished
	j.begun, j.finished = nil, map[string]Result{}
	return j.term, begun, finished
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
