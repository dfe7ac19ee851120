package store

import (
	"fmt"

	"k8s.io/apimachinery/pkg/watch"
)

// sight is a change as a watcher saw it.
type sight struct {
	Type watch.EventType
	Key  string
	version
}

// watched compares what a watcher saw from the start on with the log.
func (h *history) watched(seen []sight) error {
	for i, e := range h.log {
		want := sight{watch.Modified, e.Key, e.version()}
		switch {
		case e.Value == "":
			want.Type, want.Value = watch.Deleted, e.Previous.Value
		case e.Previous.Value == "":
			want.Type = watch.Added
		}
		if i == len(seen) {
			return fmt.Errorf("the watcher missed %+v, and all behind", want)
		}
		if seen[i] != want {
			return fmt.Errorf("the watcher saw %+v, and not %+v", seen[i], want)
		}
	}
	if len(seen) > len(h.log) {
		return fmt.Errorf("the watcher saw %+v, which is not in the log", seen[len(h.log)])
	}
	return nil
}
