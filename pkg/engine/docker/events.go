package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/docker/docker/api/types/events"
	"golang.org/x/sys/unix"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// telling are the actions that change what an inspect shows, and kill, which
// alone says that somebody sent a signal. The rest is left out: an exec probe,
// and each check of an image, makes three events, and a stop one more.
var telling = []events.Action{
	events.ActionCreate, events.ActionStart, events.ActionKill, events.ActionDie, events.ActionOOM, events.ActionDestroy,
	events.ActionPause, events.ActionUnPause, events.ActionRename, events.ActionUpdate,
	events.ActionHealthStatusHealthy, events.ActionHealthStatusUnhealthy,
}

// errStreamEnded is what an orderly end of the event stream is: an engine that
// shuts down says no goodbye.
var errStreamEnded = errors.New("the engine closed the event stream")

// Events reads the stream until it or the context ends.
//
// The engine answers a moment before it subscribes. What happens in between is
// not lost, because the stream always begins in the past, by the engine's own
// clock. The SDK returns once the engine answered or the call failed, and does
// not say which: subscribed may be called for a stream that ends at once.
func (c *Client) Events(ctx context.Context, installation string, since time.Time, subscribed func(), handle func(engine.Event)) error {
	if since.IsZero() {
		var err error
		if since, err = c.now(ctx); err != nil {
			return classify("follow events", err)
		}
	}
	filter := ours(installation)
	filter.Add("type", string(events.ContainerEventType))
	for _, action := range telling {
		filter.Add("event", string(action))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the SDK's reader however we return
	messages, ends := c.sdk.Events(ctx, events.ListOptions{
		Since: fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond()), Filters: filter,
	})
	subscribed()
	for {
		select {
		case message := <-messages:
			handle(fromMessage(message))
		case err := <-ends:
			if err == nil || errors.Is(err, io.EOF) {
				err = errStreamEnded
			}
			return classify("follow events", err)
		}
	}
}

// now is the time on the engine's clock, which may not be ours.
func (c *Client) now(ctx context.Context) (time.Time, error) {
	info, err := c.sdk.Info(ctx)
	if err != nil {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339Nano, info.SystemTime)
}

func fromMessage(m events.Message) engine.Event {
	labels := m.Actor.Attributes
	return engine.Event{
		ContainerID: m.Actor.ID,
		Game:        engine.GameID{Namespace: labels[v1alpha1.LabelNamespace], Name: labels[v1alpha1.LabelGame]},
		Action:      string(m.Action),
		Signal:      signalName(m.Actor.Attributes["signal"]),
		At:          time.Unix(0, m.TimeNano).UTC(),
	}
}

// signalName is the name of a signal that an event tells by its number.
func signalName(number string) string {
	n, err := strconv.Atoi(number)
	if err != nil {
		return "" // no signal
	}
	if name := unix.SignalName(unix.Signal(n)); name != "" {
		return name
	}
	return "signal " + number // one of the real-time signals
}
