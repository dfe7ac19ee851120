package streams

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"k8s.io/apimachinery/pkg/util/validation"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/command"
	"galaxy.io/runtime-manager/pkg/journal"
)

// The streams of jobs, and the one of their results.
const (
	StartJobs  = "runtime:start_jobs"
	StopJobs   = "runtime:stop_jobs"
	JobResults = "runtime:job_results"
)

// verbs are what the streams of jobs ask for.
var verbs = map[string]command.Verb{StartJobs: command.VerbStart, StopJobs: command.VerbStop}

const (
	// longestID and largestEntry bound what a job may be. An entry that is larger
	// than the API takes as a record is not even kept.
	longestID    = 128
	largestEntry = 1 << 20
)

// JobResult is the answer to a job, or to an entry that is none: on the stream
// runtime:job_results.
type JobResult struct {
	// ResultID is the same each time the result is delivered.
	ResultID string `json:"result_id"`
	// JobID is empty where the entry has no usable one.
	JobID     string       `json:"job_id"`
	Type      command.Verb `json:"type"`
	Namespace string       `json:"namespace"`
	// GameID and RequestedBy are empty where they are not usable.
	GameID      string `json:"game_id"`
	RequestedBy string `json:"requested_by"`
	// Stream and EntryID are where the answered entry was read.
	Stream  string `json:"stream"`
	EntryID string `json:"entry_id"`
	command.Result
	// AnsweredAtMs counts milliseconds since 1970.
	AnsweredAtMs int64 `json:"answered_at_ms"`
}

// resultNames makes the ids of results differ from those of anybody else's names.
var resultNames = uuid.NewSHA1(uuid.NameSpaceDNS, []byte("jobs.runtime.galaxy.io"))

// resultID follows from the job: whoever answers it, and how often.
func resultID(job string) string { return uuid.NewSHA1(resultNames, []byte("job/"+job)).String() }

// entryResultID is of an entry that is no job of its own.
func entryResultID(stream, entry string) string {
	return uuid.NewSHA1(resultNames, []byte("entry/"+stream+"/"+entry)).String()
}

// answer is a job's own result.
func (i *Intake) answer(job journal.Job, result command.Result) journal.Reply {
	return i.reply(resultID(job.ID), job.ID, job, result)
}

// aside is the reply to an entry that is no job of its own.
func (i *Intake) aside(job journal.Job, result command.Result) journal.Reply {
	return i.reply(entryResultID(job.Stream, job.Entry), "", job, result)
}

func (i *Intake) reply(id, answered string, job journal.Job, result command.Result) journal.Reply {
	payload, err := json.Marshal(JobResult{
		ResultID: id, JobID: job.ID, Type: command.Verb(job.Verb), Namespace: i.Namespace, GameID: job.Game, RequestedBy: job.Caller,
		Stream: job.Stream, EntryID: job.Entry, Result: result, AnsweredAtMs: time.Now().UnixMilli(),
	})
	if err != nil {
		panic(fmt.Sprintf("streams: a result is no JSON: %v", err)) // of strings and numbers only
	}
	game := ""
	if job.Game != "" {
		game = i.Namespace + "/" + job.Game
	}
	return journal.Reply{ID: id, Job: answered, Stream: JobResults, Game: game, Payload: payload}
}

// parse takes an entry for a job, or says what is wrong with it; then the job is
// what of it can be used.
func parse(stream string, entry redis.XMessage) (job journal.Job, wrong error) {
	given := wire{values: entry.Values}
	job = journal.Job{Stream: stream, Entry: entry.ID, Verb: string(verbs[stream])}
	given.tooLarge()
	job.ID = given.id("job_id")
	job.Game = given.label("game_id")
	job.Caller = given.label("requested_by")
	given.number("requested_at_ms")
	job.Traceparent = given.traceparent()
	if stream == StartJobs {
		job.Image, job.Spec = given.text("image_ref"), given.text("spec")
	}
	if given.wrong != nil {
		job.Image, job.Spec = "", ""
	}
	return job, given.wrong
}

// wire are the fields of an entry, and what is wrong with them first.
type wire struct {
	values map[string]any
	wrong  error
}

func (f *wire) fail(name, format string, args ...any) string {
	if f.wrong == nil {
		f.wrong = fmt.Errorf("%s: %s", name, fmt.Sprintf(format, args...))
	}
	return ""
}

func (f *wire) tooLarge() {
	size := 0
	for name, value := range f.values {
		text, _ := value.(string)
		size += len(name) + len(text)
	}
	if size > largestEntry {
		f.fail("the entry", "has %d bytes, and must not have more than %d", size, largestEntry)
	}
}

// text is a field that may be left out.
func (f *wire) text(name string) string {
	text, _ := f.values[name].(string) // there is no other type in Redis
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return f.fail(name, "must be text in UTF-8")
	}
	return text
}

func (f *wire) required(name string) string {
	text := f.text(name)
	if text == "" {
		return f.fail(name, "is missing")
	}
	return text
}

func (f *wire) id(name string) string {
	id := f.required(name)
	if len(id) > longestID || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return f.fail(name, "must be at most %d printable characters of ASCII, without blanks", longestID)
	}
	return id
}

func (f *wire) label(name string) string {
	label := f.required(name)
	if wrong := validation.IsDNS1123Label(label); label != "" && len(wrong) > 0 {
		return f.fail(name, "%s", wrong[0])
	}
	return label
}

// traceparentPattern is that of W3C Trace Context.
var traceparentPattern = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// traceparent is empty where it is not well-formed: no job fails for it.
func (f *wire) traceparent() string {
	text, _ := f.values["traceparent"].(string)
	if !traceparentPattern.MatchString(text) {
		return ""
	}
	return text
}

func (f *wire) number(name string) {
	text := f.required(name)
	if n, err := strconv.ParseInt(text, 10, 64); text != "" && (err != nil || n <= 0) {
		f.fail(name, "must be a number of milliseconds since 1970")
	}
}

// refusal is the result of an entry that is no job.
func refusal(wrong error) command.Result {
	return command.Result{Outcome: command.Failure, ErrorCode: v1alpha1.CodeInvalidRequest, Message: wrong.Error()}
}

// repetition is the result of an entry that asks for a job once more: what came of
// the job stands, and a failure is not told as a success.
func repetition(first json.RawMessage) command.Result {
	var told JobResult
	if len(first) > 0 && json.Unmarshal(first, &told) == nil && told.Outcome == command.Failure {
		told.Message = "this job was taken before, and failed: " + told.Message
		return told.Result
	}
	return command.Result{Outcome: command.Success, ErrorCode: v1alpha1.CodeReplayNoOp, Message: "this job was taken before, and has a result of its own"}
}
