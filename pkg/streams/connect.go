package streams

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

var errURL = errors.New("not a URL that Redis is known by: redis://user:password@host:port/database, rediss:// over TLS, or unix:///path")

// answerTimeout is after what time a Redis counts as away.
const answerTimeout = 3 * time.Second

// Open returns a client of the Redis at a redis://, rediss:// or unix:// URL. It
// connects when it is used, and tries nothing twice: whoever uses it knows what
// may be repeated. Its errors hold no password.
func Open(url string) (*redis.Client, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, errURL // what the library says shows the URL
	}
	options.ClientName = "runtime-manager"
	options.MaxRetries, options.DialerRetries = -1, 1
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout = answerTimeout, answerTimeout, answerTimeout
	options.ContextTimeoutEnabled = true
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled} // of one vendor's service
	redis.SetLogger(silence{})                                                                           // what it would print, each use of it returns
	return redis.NewClient(options), nil
}

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// Ping tells by an error that the Redis at a URL does not answer.
func Ping(ctx context.Context, url string) error {
	client, err := Open(url)
	if err != nil {
		return err
	}
	defer client.Close()
	return client.Ping(ctx).Err()
}
