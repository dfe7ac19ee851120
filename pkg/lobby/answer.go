package lobby

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// bodyLimit is how large an answer may be, in bytes.
const bodyLimit = 1 << 20

// GameRecord is what the Lobby says of a game, as far as it concerns us.
type GameRecord struct {
	GameID string
	// Status is the Lobby's own word for where the game stands.
	Status string
	// EngineImage and EngineVersion are the image that the game is to run.
	EngineImage   string
	EngineVersion string
}

// Image returns the reference of the image that the game is to run: EngineImage,
// with EngineVersion for its tag unless it names a tag or a digest itself.
func (r GameRecord) Image() string {
	// A colon before the last slash is that of a registry's port.
	if strings.ContainsAny(r.EngineImage[strings.LastIndex(r.EngineImage, "/")+1:], ":@") {
		return r.EngineImage
	}
	return r.EngineImage + ":" + r.EngineVersion
}

// read takes an answer for what it says of a game.
func read(game string, answer *http.Response) (GameRecord, error) {
	body, err := io.ReadAll(io.LimitReader(answer.Body, bodyLimit+1))
	if err != nil {
		return GameRecord{}, err
	}
	if len(body) > bodyLimit {
		return GameRecord{}, malformed("the answer is larger than %d bytes", bodyLimit)
	}
	return decode(game, body)
}

func decode(game string, body []byte) (GameRecord, error) {
	var document struct {
		GameID        string `json:"game_id"`
		Status        string `json:"status"`
		EngineImage   string `json:"engine_image"`
		EngineVersion string `json:"engine_version"`
	}
	if err := json.Unmarshal(body, &document); err != nil {
		var mismatch *json.UnmarshalTypeError
		if errors.As(err, &mismatch) && mismatch.Field != "" {
			return GameRecord{}, malformed("%s in the answer is of the wrong type", mismatch.Field)
		}
		return GameRecord{}, malformed("the answer is no JSON object")
	}
	record := GameRecord(document)
	for _, field := range []struct{ name, value string }{
		{"game_id", record.GameID}, {"status", record.Status},
		{"engine_image", record.EngineImage}, {"engine_version", record.EngineVersion},
	} {
		if field.value == "" {
			return GameRecord{}, malformed("%s is missing in the answer", field.name)
		}
	}
	if record.GameID != game {
		return GameRecord{}, malformed("the answer is about another game")
	}
	return record, nil
}

func malformed(format string, args ...any) error {
	return &Error{Kind: Malformed, Err: fmt.Errorf(format, args...)}
}

// refusal classifies an answer that is no record.
func refusal(answer *http.Response, now time.Time) error {
	e := &Error{Err: fmt.Errorf("it answers %d", answer.StatusCode)}
	switch code := answer.StatusCode; {
	case code == http.StatusNotFound:
		e.Kind, e.Err = NotFound, errors.New("it has no such game")
	case code == http.StatusTooManyRequests:
		e.Kind, e.after = Busy, retryAfter(answer.Header.Get("Retry-After"), now)
	case code >= 500:
		e.Kind, e.after = Unavailable, retryAfter(answer.Header.Get("Retry-After"), now)
	case code >= 400:
		e.Kind = Refused
	default: // a redirect that leads away from the Lobby is one
		e.Kind = Malformed
	}
	return e
}

// retryAfter reads a Retry-After header: seconds or a date; 0 if it is neither.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// broken classifies an exchange that came to no end, under its context.
func broken(ctx context.Context, err error) error {
	var ours *Error
	if errors.As(err, &ours) {
		return err
	}
	if cause := context.Cause(ctx); errors.Is(cause, errLate) {
		return &Error{Kind: Timeout, Err: errLate}
	} else if cause != nil {
		return &Error{Kind: Canceled, Err: cause}
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // the rest of it is the URL
	}
	var network net.Error
	switch {
	case errors.Is(err, errRedirects):
		return &Error{Kind: Malformed, Err: err}
	case distrusted(err):
		return &Error{Kind: Refused, Err: err}
	case errors.As(err, &network) && network.Timeout():
		return &Error{Kind: Timeout, Err: err}
	case network != nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{Kind: Unavailable, Err: err}
	}
	// The text of other errors may repeat what the Lobby wrote.
	return &Error{Kind: Unavailable, Err: errors.New("what it sends is not understood")}
}

// distrusted says whether a connection failed for a certificate, be it ours or
// the Lobby's.
func distrusted(err error) bool {
	var theirs *tls.CertificateVerificationError
	var alert *net.OpError
	return errors.As(err, &theirs) || errors.As(err, &alert) && alert.Op == "remote error"
}
