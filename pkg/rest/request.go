package rest

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	kjson "sigs.k8s.io/json"

	"galaxy.io/runtime-manager/pkg/command"
)

// Headers of our own.
const (
	headerCaller    = "X-Galaxy-Caller"
	headerKey       = "Idempotency-Key"
	headerReplayed  = "Idempotency-Replayed"
	headerRequestID = "X-Request-Id"
)

const (
	// maxBody bounds a request's body, in bytes.
	maxBody = 64 << 10
	// maxWait bounds what a caller may wait for an outcome.
	maxWait = 5 * time.Minute

	defaultLimit = 100
	maxLimit     = 500
)

// order is a request for a change.
type order struct {
	command.Wish
	verb command.Verb
	body orderBody
	wait time.Duration
	// digest stands for all that is asked for, but not for how long to wait.
	digest []byte
}

// orderBody is what a body may say; each verb takes its part of it.
type orderBody struct {
	Image string          `json:"image"`
	Spec  json.RawMessage `json:"spec"`
}

func readOrder(w http.ResponseWriter, r *http.Request, verb command.Verb) (order, error) {
	o := order{verb: verb, Wish: command.Wish{Game: r.PathValue("game"), Caller: r.Header.Get(headerCaller), ID: r.Header.Get(headerKey)}}
	if o.Caller == "" {
		return o, invalid(headerCaller, "is required: who asks for a change is recorded")
	}
	if err := o.Check(); err != nil { // before anything is kept by its key
		return o, err
	}
	query, err := readQuery(r, "wait")
	if err != nil {
		return o, err
	}
	if o.wait, err = readWait(query); err != nil {
		return o, err
	}
	if o.Revision, err = readIfMatch(r.Header); err != nil {
		return o, err
	}
	raw, err := readBody(w, r)
	if err != nil {
		return o, err
	}
	if err := o.decode(raw); err != nil {
		return o, err
	}
	sum := sha256.New()
	for _, part := range []string{string(verb), o.Game, o.Revision, string(raw)} {
		_, _ = io.WriteString(sum, strconv.Itoa(len(part))+":"+part) // a hash takes everything
	}
	o.digest = sum.Sum(nil)
	return o, nil
}

// readQuery refuses what nobody knows: a wait that is misspelt would not be waited for.
func readQuery(r *http.Request, known ...string) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, invalid("query", "cannot be read")
	}
	for name, values := range query {
		if !slices.Contains(known, name) {
			return nil, invalid(name, "is no parameter of this call")
		}
		if len(values) > 1 {
			return nil, invalid(name, "is given more than once")
		}
	}
	return query, nil
}

var waitPattern = regexp.MustCompile(`^([0-9]{1,6}(ms|s|m))+$`)

func readWait(query url.Values) (time.Duration, error) {
	text, given := query.Get("wait"), query.Has("wait")
	if !given {
		return 0, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || !waitPattern.MatchString(text) || wait > maxWait {
		return 0, invalid("wait", "must be a time such as 30s, at most 5m")
	}
	return wait, nil
}

func readLimit(query url.Values) (int64, error) {
	if !query.Has("limit") {
		return defaultLimit, nil
	}
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || limit < 1 || limit > maxLimit {
		return 0, invalid("limit", "must be a number from 1 to %d", maxLimit)
	}
	return int64(limit), nil
}

func etag(revision string) string { return `"` + revision + `"` }

// etagPattern is that of ours.
var etagPattern = regexp.MustCompile(`^"([0-9]{1,20})"$`)

func readIfMatch(header http.Header) (revision string, err error) {
	values := header.Values("If-Match")
	if len(values) == 0 {
		return "", nil
	}
	match := etagPattern.FindStringSubmatch(strings.TrimSpace(values[0]))
	if match == nil || len(values) > 1 {
		return "", invalid("If-Match", "must be one ETag, as an answer gave it")
	}
	return match[1], nil
}

// known says that the caller has this revision already.
func known(header http.Header, revision string) bool {
	for _, values := range header.Values("If-None-Match") {
		for tag := range strings.SplitSeq(values, ",") {
			if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == "*" || tag == etag(revision) {
				return true
			}
		}
	}
	return false
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, invalid("body", "must not have more than %d bytes", maxBody)
	}
	if err != nil {
		return nil, invalid("body", "cannot be read to its end")
	}
	// All of it is here. An error of the connection would end the request's wait.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // a test's recorder has none
	if len(body) == 0 {
		return nil, nil
	}
	if given := r.Header.Get("Content-Type"); given != "" {
		if kind, _, err := mime.ParseMediaType(given); err != nil || kind != "application/json" {
			return nil, invalid("Content-Type", "must be application/json")
		}
	}
	return body, nil
}

// decode takes a JSON object whose fields are all known.
func (o *order) decode(raw []byte) error {
	if len(raw) == 0 {
		return nil
	}
	switch o.verb {
	case command.VerbStart:
		return strictly(raw, &o.body)
	case command.VerbPatch:
		var patch struct {
			Image string `json:"image"`
		}
		err := strictly(raw, &patch)
		o.body.Image = patch.Image
		return err
	case command.VerbStop, command.VerbRestart:
		return strictly(raw, &struct{}{})
	default:
		return invalid("body", "this call has none")
	}
}

// strictly decodes, and names the field that nobody knows, or that is there twice.
func strictly(raw []byte, into any) error {
	if trimmed := strings.TrimLeft(string(raw), " \t\r\n"); !strings.HasPrefix(trimmed, "{") {
		return invalid("body", "must be a JSON object")
	}
	unknown, err := kjson.UnmarshalStrict(raw, into)
	if err != nil {
		return invalid("body", "%s", err)
	}
	if len(unknown) == 0 {
		return nil
	}
	var field kjson.FieldError
	if errors.As(unknown[0], &field) {
		return invalid(field.FieldPath(), "%s", unknown[0])
	}
	return invalid("body", "%s", unknown[0])
}
