package app

import (
	"context"
	"fmt"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"galaxy.io/runtime-manager/controllers"
	"galaxy.io/runtime-manager/pkg/journal"
	"galaxy.io/runtime-manager/pkg/streams"
)

const (
	// relayed is how long messages are kept once they were published.
	relayed = time.Hour
	// flushTimeout is what publishing the last messages may take once we are asked
	// to stop.
	flushTimeout = 5 * time.Second
)

// addRelay has the outbox published where this process leads, if there is a Redis.
// flush publishes the rest once the journal is closed.
func (a *App) addRelay(manager ctrl.Manager, database *database) (flush func(), err error) {
	if a.config.RedisURL == "" {
		return func() {}, nil
	}
	client, err := streams.Open(a.config.RedisURL)
	if err != nil {
		return nil, fmt.Errorf("--redis-url: %w", err)
	}
	relay := streams.NewRelay(streams.RelayOptions{
		Outbox: journal.Outbox{Pool: database.pool}, Redis: client, MaxLen: a.config.StreamMaxLen, Log: a.log.WithName("streams"),
	})
	if err := controllers.Register(relay.Collectors()); err != nil {
		return nil, err
	}
	if err := manager.Add(relay); err != nil {
		return nil, fmt.Errorf("adding the relay: %w", err)
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
		defer cancel()
		relay.Flush(ctx)
		_ = client.Close() // idle connections
	}, nil
}

// checkStreams says which value cannot be.
func (c Config) checkStreams() error {
	if c.RedisURL != "" {
		client, err := streams.Open(c.RedisURL)
		if err != nil {
			return fmt.Errorf("--redis-url: %w", err)
		}
		_ = client.Close() // it never connected
	}
	if c.StreamMaxLen < 0 {
		return fmt.Errorf("--stream-maxlen: must not be negative, is %d", c.StreamMaxLen)
	}
	return nil
}
