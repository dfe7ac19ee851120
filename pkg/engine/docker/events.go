package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/docker/docker/api/types/events"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// hindsight is how far back a stream without a since begins: the engine says
// that the stream stands a moment before it does.
const hindsight = time.Second

// Events reads the stream until it or the context ends. The SDK returns from
// its call once the engine answered; what came in between is replayed.
func (c *Client) Events(ctx context.Context, installation string, since time.Time, subscribed func(), handle func(engine.Event)) error {
	if since.IsZero() {
		since = time.Now().Add(-hindsight)
	}
	filter := ours(installation)
	filter.Add("type", string(events.ContainerEventType))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the SDK's reader however we return
	messages, ends := c.sdk.Events(ctx, events.ListOptions{
		Since: fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond()), Filters: filter,
	})
	select {
	case err := <-ends:
		return streamEnd(err)
	default:
		subscribed()
	}
	for {
		select {
		case message := <-messages:
			handle(fromMessage(message))
		case err := <-ends:
			return streamEnd(err)
		}
	}
}

func streamEnd(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		err = errStreamEnded
	}
	return classify("follow events", err)
}

func fromMessage(m events.Message) engine.Event {
	labels := m.Actor.Attributes
	return engine.Event{
		ContainerID: m.Actor.ID,
		Game:        engine.GameID{Namespace: labels[v1alpha1.LabelNamespace], Name: labels[v1alpha1.LabelGame]},
		Action:      string(m.Action),
		At:          time.Unix(0, m.TimeNano),
	}
}
