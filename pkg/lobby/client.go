package lobby

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
)

// Options say where the Lobby is, who we are to it, and how patient we are with
// it. Zero values take the defaults.
type Options struct {
	// URL is what comes before /api/v1 in the Lobby's addresses: http or https.
	URL string
	// TokenFile holds a bearer token, CertFile and KeyFile a client certificate
	// and its key, CAFile the authorities that may have signed the Lobby's, in
	// place of the system's. They are read for each attempt; "" is none.
	TokenFile string
	CertFile  string
	KeyFile   string
	CAFile    string

	Log   logr.Logger
	Clock clock.WithDelayedExecution

	// Timeout bounds a question, AttemptTimeout each of its Attempts; 10 s, 3 s
	// and 4.
	Timeout        time.Duration
	AttemptTimeout time.Duration
	Attempts       int
	// Backoff is the least pause before the second attempt, doubled for each
	// further one; 100 ms.
	Backoff time.Duration
	// FailureLimit is how many failures in a row open the circuit, and Rest how
	// long nothing is asked then; 5 and 15 s.
	FailureLimit int
	Rest         time.Duration
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.AttemptTimeout == 0 {
		o.AttemptTimeout = 3 * time.Second
	}
	if o.Attempts == 0 {
		o.Attempts = 4
	}
	if o.Backoff == 0 {
		o.Backoff = 100 * time.Millisecond
	}
	if o.FailureLimit == 0 {
		o.FailureLimit = 5
	}
	if o.Rest == 0 {
		o.Rest = 15 * time.Second
	}
	return o
}

// Client asks the Lobby. Its methods may be called from anywhere.
type Client struct {
	options     Options
	games       *url.URL
	credentials *credentials
	circuit     *circuit
	metrics     metrics
}

// New returns a client, or what is wrong with the options. It asks nothing yet.
func New(options Options) (*Client, error) {
	options = options.withDefaults()
	base, err := parse(options.URL)
	if err != nil {
		return nil, err
	}
	if (options.CertFile == "") != (options.KeyFile == "") {
		return nil, errors.New("the Lobby's client certificate and its key are given together or not at all")
	}
	if base.Scheme != "https" && (options.CAFile != "" || options.CertFile != "") {
		return nil, errors.New("certificates for the Lobby need an https URL")
	}
	credentials, err := newCredentials(files{
		token: options.TokenFile, ca: options.CAFile, cert: options.CertFile, key: options.KeyFile,
	}, options.Log)
	if err != nil {
		return nil, fmt.Errorf("credentials for the Lobby: %w", err)
	}
	circuit := &circuit{clock: options.Clock, log: options.Log, limit: options.FailureLimit, rest: options.Rest}
	return &Client{
		options: options, games: base.JoinPath("api/v1/internal/games"),
		credentials: credentials, circuit: circuit, metrics: newMetrics(circuit),
	}, nil
}

// parse takes a base URL. Its messages do not repeat the URL, for a mistaken one
// may hold a password.
func parse(base string) (*url.URL, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New("the Lobby's URL must be http://host or https://host, with a port and a path where needed")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("the Lobby's URL must have no user, query or fragment")
	}
	if u.Path == "" {
		u.Path = "/" // what is joined to it must not be relative
	}
	return u, nil
}

// Close ends the connections to the Lobby that are not in use.
func (c *Client) Close() { c.credentials.close() }

// Game asks for the record of a game. What goes wrong is an *Error.
func (c *Client) Game(ctx context.Context, id string) (GameRecord, error) {
	record, err := c.ask(ctx, id)
	var e *Error
	if errors.As(err, &e) {
		e.Game = id
	}
	return record, err
}

func (c *Client) ask(ctx context.Context, id string) (GameRecord, error) {
	if len(validation.IsDNS1123Label(id)) > 0 {
		return GameRecord{}, &Error{Kind: Invalid, Err: errors.New("that is no id of a game")}
	}
	end := c.options.Clock.Now().Add(c.options.Timeout)
	ctx, cancel := c.within(ctx, c.options.Timeout)
	defer cancel()
	backoff := wait.Backoff{Duration: c.options.Backoff, Factor: 2, Jitter: 0.5, Steps: c.options.Attempts}
	for attempt := 1; ; attempt++ {
		record, err := c.attempt(ctx, id)
		if !kinds[KindOf(err)].retried || attempt == c.options.Attempts || c.circuit.state() == open {
			return record, err
		}
		pause := max(backoff.Step(), wished(err))
		if c.options.Clock.Now().Add(pause).After(end) {
			return GameRecord{}, err
		}
		if err := c.pause(ctx, pause); err != nil {
			return GameRecord{}, err
		}
	}
}

// attempt asks once, if the circuit lets it.
func (c *Client) attempt(ctx context.Context, id string) (record GameRecord, err error) {
	defer func() { c.metrics.count(err) }()
	trial, ok := c.circuit.enter()
	if !ok {
		return GameRecord{}, &Error{Kind: CircuitOpen, Err: errors.New("it failed several times in a row, and is left alone for a while")}
	}
	ctx, cancel := c.within(ctx, c.options.AttemptTimeout)
	defer cancel()
	begin := c.options.Clock.Now()
	record, err = c.exchange(ctx, id)
	c.circuit.leave(trial, err)
	c.metrics.duration.Observe(c.options.Clock.Since(begin).Seconds())
	return record, err
}

// exchange makes a request and reads its answer.
func (c *Client) exchange(ctx context.Context, id string) (GameRecord, error) {
	client, token := c.credentials.current()
	request := &http.Request{Method: http.MethodGet, URL: c.games.JoinPath(id), Header: http.Header{
		"Accept": {"application/json"}, "User-Agent": {"runtime-manager"},
	}}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := client.Do(request.WithContext(ctx))
	if err != nil {
		return GameRecord{}, broken(ctx, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return GameRecord{}, refusal(answer, c.options.Clock.Now())
	}
	record, err := read(id, answer)
	if err != nil {
		return GameRecord{}, broken(ctx, err)
	}
	return record, nil
}

// errLate ends what a deadline of ours ended.
var errLate = errors.New("no answer in time")

// within is a context with a deadline by the client's clock.
func (c *Client) within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := c.options.Clock.AfterFunc(d, func() { cancel(errLate) })
	return ctx, func() {
		timer.Stop()
		cancel(nil)
	}
}

// pause waits for the next attempt.
func (c *Client) pause(ctx context.Context, d time.Duration) error {
	timer := c.options.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return broken(ctx, ctx.Err())
	}
}

// wished is how long the Lobby asked us to wait.
func wished(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.after
	}
	return 0
}
