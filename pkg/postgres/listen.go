package postgres

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// listenRetry is the delay before a lost connection is opened again.
const listenRetry = time.Second

// Listen calls back with the payload of each notification on a channel, and
// with none whenever the connection stands anew: what was notified in between is
// lost, so a call back is a hint to look, and nothing more. It returns when ctx
// ends.
func Listen(ctx context.Context, pool *pgxpool.Pool, channel string, log logr.Logger, hear func(payload string)) {
	connected := true
	for ctx.Err() == nil {
		err := listen(ctx, pool, channel, func(payload string) {
			if !connected {
				log.Info("listening again", "channel", channel)
			}
			connected = true
			hear(payload)
		})
		if ctx.Err() != nil {
			return
		}
		if connected {
			log.Info("notifications lost, looking from time to time instead", "channel", channel, "reason", oneLine(err))
		}
		connected = false
		select {
		case <-ctx.Done():
		case <-time.After(listenRetry):
		}
	}
}

// listen lives as long as one connection.
func listen(ctx context.Context, pool *pgxpool.Pool, channel string, hear func(payload string)) error {
	conn, err := pgx.ConnectConfig(ctx, pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // it is given up either way
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
		return err
	}
	hear("")
	for {
		notification, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		hear(notification.Payload)
	}
}
