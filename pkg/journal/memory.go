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

func (m *memory) Load(_ context.Context, ends int) ([]Intent, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var loaded []Intent
	seen := map[types.NamespacedName]int{}
	for _, i := range slices.Backward(m.intents) {
		if i.ends() {
			seen[i.Game]++
		}
		if i.Outcome == "" || i.ends() && seen[i.Game] <= ends {
			loaded = append(loaded, i)
		}
	}
	slices.Reverse(loaded)
	return loaded, nil
}
