package streams

import (
	"context"
	"encoding/json"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/command"
	"galaxy.io/runtime-manager/pkg/journal"
)

// surveyEvery is how many glances there are between two surveys of all jobs that
// wait: others may have left some, records may be gone, and deadlines be over.
const surveyEvery = 5

// waitingJob stands in its record, and is not done.
type waitingJob struct {
	journal.Job
	accepted command.Accepted
	span     trace.Span
}

// verdict is the result of a job.
type verdict struct {
	job    journal.Job
	result command.Result
	span   trace.Span
}

// await waits for a job that was accepted.
func (i *Intake) await(job journal.Job, accepted command.Accepted, span trace.Span) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.awaitLocked(job, accepted, span)
}

func (i *Intake) awaitLocked(job journal.Job, accepted command.Accepted, span trace.Span) {
	if i.waiting[job.Game] == nil {
		i.waiting[job.Game] = map[string]waitingJob{}
	}
	i.waiting[job.Game][job.ID] = waitingJob{job, accepted, span}
	i.dirty[job.Game] = true // its record may have changed before we waited
}

func (i *Intake) forgetLocked(game, id string) {
	if job, waits := i.waiting[game][id]; waits {
		job.span.End() // if its answer did not
	}
	if delete(i.waiting[game], id); len(i.waiting[game]) == 0 {
		delete(i.waiting, game)
		delete(i.dirty, game)
	}
}

// conclude answers the jobs that are done, as their records change, for as long as
// that goes well.
func (i *Intake) conclude(ctx context.Context, well func()) error {
	for {
		if err := i.survey(ctx); err != nil {
			return err
		}
		well()
		due := time.After(surveyEvery * i.Glance)
		for open := true; open; {
			select {
			case <-ctx.Done():
				return nil
			case <-due:
				open = false
			case <-i.changed:
				if err := i.answerAll(ctx, i.doneOf(i.takeDirty())); err != nil {
					return err
				}
			}
		}
	}
}

// survey learns what others left, and looks at all that waits.
func (i *Intake) survey(ctx context.Context) error {
	known := i.known()
	jobs, err := i.Jobs.Accepted(ctx)
	if err != nil {
		return err
	}
	open, oldest, err := i.Jobs.Open(ctx)
	if err != nil {
		return err
	}
	i.metrics.open.Set(float64(open))
	i.metrics.oldest.Set(oldest.Seconds())
	i.merge(jobs, known)
	return i.answerAll(ctx, i.judgeAll(ctx))
}

// known are the jobs that wait, each by its game and id.
func (i *Intake) known() map[[2]string]bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	known := map[[2]string]bool{}
	for game, jobs := range i.waiting {
		for id := range jobs {
			known[[2]string{game, id}] = true
		}
	}
	return known
}

// merge adds those that are not known, and drops those that were answered.
func (i *Intake) merge(open []journal.Job, known map[[2]string]bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, job := range open {
		if known[[2]string{job.Game, job.ID}] {
			delete(known, [2]string{job.Game, job.ID})
			continue
		}
		var accepted command.Accepted
		if err := json.Unmarshal(job.Accepted, &accepted); err != nil {
			i.Log.Error(err, "an accepted job cannot be read", "job", job.ID)
			continue
		}
		i.awaitLocked(job, accepted, noop.Span{}) // whoever wrote it has its span
	}
	for answered := range known {
		i.forgetLocked(answered[0], answered[1])
	}
}

// takeDirty returns the jobs of the games to look at.
func (i *Intake) takeDirty() (jobs []waitingJob) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for game := range i.dirty {
		for _, job := range i.waiting[game] {
			jobs = append(jobs, job)
		}
	}
	clear(i.dirty)
	return jobs
}

// doneOf judges by the records as they were heard of. A job whose record was not
// heard of yet waits for that.
func (i *Intake) doneOf(jobs []waitingJob) (done []verdict) {
	for _, job := range jobs {
		record := i.Records.Seen(job.Game)
		if !reaches(record, job.accepted) {
			continue
		}
		if result, ok := command.Conclude(record, job.accepted); ok {
			done = append(done, verdict{job.Job, result, job.span})
		}
	}
	return done
}

// judgeAll judges all that waits. A record that is not the one that was written is
// gone, or was not heard of yet: those are asked for.
func (i *Intake) judgeAll(ctx context.Context) (done []verdict) {
	i.mu.Lock()
	var jobs []waitingJob
	for _, ofGame := range i.waiting {
		for _, job := range ofGame {
			jobs = append(jobs, job)
		}
	}
	i.mu.Unlock()
	for _, job := range jobs {
		record, overdue := i.Records.Seen(job.Game), time.Now().After(job.Deadline)
		if !reaches(record, job.accepted) {
			stored, err := i.Records.Stored(ctx, job.Game)
			if err != nil && !overdue {
				continue
			}
			record = stored
			if err != nil {
				done = append(done, verdict{job.Job, command.Failed(err), job.span})
				continue
			}
		}
		if result, ok := command.Conclude(record, job.accepted); ok {
			done = append(done, verdict{job.Job, result, job.span})
		} else if overdue {
			done = append(done, verdict{job.Job, command.Overdue(record, job.accepted), job.span})
		}
	}
	return done
}

// reaches says that a record is not older than what was written into it.
func reaches(record *v1alpha1.GameRuntime, accepted command.Accepted) bool {
	return record != nil && record.UID == accepted.UID && record.Generation >= accepted.Generation
}

// answerAll gives jobs their results. Whoever was faster is right.
func (i *Intake) answerAll(ctx context.Context, done []verdict) error {
	if len(done) == 0 {
		return nil
	}
	replies, results := make([]journal.Reply, len(done)), map[string]verdict{}
	for k, v := range done {
		replies[k], results[v.job.ID] = i.answer(v.job, v.result), v
	}
	told, err := i.Jobs.Settle(ctx, nil, replies)
	if err != nil {
		return err // the next survey finds them
	}
	for _, id := range told {
		i.metrics.count(results[id].job.Verb, results[id].result)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, v := range done {
		answered(v.span, v.result)
		i.forgetLocked(v.job.Game, v.job.ID)
	}
	return nil
}
