package journal

import (
	"context"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// InMemory is a log without a database, for tests of what is built on a journal:
// it survives a journal as a database does.
func InMemory() Log { return &memory{} }

type memory struct {
	mu      sync.Mutex
	intents []Intent
}

func (m *memory) Write(_ context.Context, begun []Intent, finished map[string]Result) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.intents = append(m.intents, begun...)
	for i := range m.intents {
		if result, ok := finished[m.intents[i].ID]; ok {
			m.intents[i].Result = result
		}
	}
	return nil
}

func (m *memory) Load(_ context.Context, kept map[string]int) ([]Intent, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	type deed struct {
		game   types.NamespacedName
		action string
	}
	var loaded []Intent
	seen := map[deed]int{}
	for _, i := range slices.Backward(m.intents) {
		of := deed{i.Game, i.Action}
		seen[of]++
		if i.Outcome == "" || seen[of] <= kept[i.Action] {
			loaded = append(loaded, i)
		}
	}
	slices.Reverse(loaded)
	return loaded, nil
}
