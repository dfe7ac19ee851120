package streams

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// entryID is the id of a stream's entry: of two the greater was added later.
type entryID struct{ ms, n uint64 }

// parseEntryID is of what Redis gives out; anything else is the stream's beginning.
func parseEntryID(text string) (id entryID) {
	ms, n, _ := strings.Cut(text, "-")
	id.ms, _ = strconv.ParseUint(ms, 10, 64)
	id.n, _ = strconv.ParseUint(n, 10, 64)
	return id
}

func (id entryID) compare(other entryID) int {
	return cmp.Or(cmp.Compare(id.ms, other.ms), cmp.Compare(id.n, other.n))
}

func (id entryID) String() string { return fmt.Sprintf("%d-%d", id.ms, id.n) }
