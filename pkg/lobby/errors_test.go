package lobby

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The table of failures in the documentation is the one in code.
func TestFailuresAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/adapters.md")
	require.NoError(t, err)
	yes := map[bool]string{true: "yes", false: "no"}
	documented := map[Kind][]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, " | ")
		if kind, ok := strings.CutPrefix(cells[0], "| `"); ok && len(cells) == 5 {
			documented[Kind(strings.TrimSuffix(kind, "`"))] = []string{cells[2], cells[3], strings.TrimSuffix(cells[4], " |\n")}
		}
	}
	want := map[Kind][]string{}
	for kind, follows := range kinds {
		want[kind] = []string{"`" + kind.Code() + "`", yes[follows.retried], yes[follows.counts]}
	}
	assert.Equal(t, want, documented)
}

func TestKindOf(t *testing.T) {
	assert.Empty(t, KindOf(nil))
	assert.Equal(t, NotFound, KindOf(fmt.Errorf("start chess: %w", &Error{Kind: NotFound})))
	assert.Equal(t, Unavailable, KindOf(errors.New("somebody else's")))
}
