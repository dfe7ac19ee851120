package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/apiserver/pkg/storage"
)

// version is what a key holds: a value that one operation alone writes, and its
// revision. Where nothing is there, the value is empty and the revision, if any,
// the deletion's.
type version struct {
	Value    string `json:",omitempty"`
	Revision int64  `json:",omitempty"`
}

const (
	create = "create"
	get    = "get"
	update = "update"
	remove = "delete"
	list   = "list"
)

const (
	// answered: it was done, or read.
	answered = "answered"
	exists   = "exists"
	notFound = "not found"
	// conflict: what is there is not what was expected.
	conflict = "conflict"
	// unavailable: nothing happened.
	unavailable = "unavailable"
	// lost: it happened, or will, or not.
	lost = "lost"
)

// operation is what one client wanted, and what it was told.
type operation struct {
	// ID is unique; it is the value that a create or an update writes.
	ID, Kind, Key string
	// Expected is the revision that an update or a deletion insists on, or that a
	// list asks for; 0 is any.
	Expected int64 `json:",omitempty"`
	// Call and Return are nanoseconds of the machine's monotonic clock.
	Call, Return int64
	Outcome      string
	// Error is why it is unavailable, lost, or none of the known outcomes.
	Error string `json:",omitempty"`
	// Found is what was there.
	Found version
	// Revision is the one that a write made, or that a list is of.
	Revision int64              `json:",omitempty"`
	List     map[string]version `json:",omitempty"`
}

func (o operation) String() string {
	text, err := json.Marshal(o)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (o operation) writes() bool {
	return o.Outcome == answered && o.Kind != get && o.Kind != list
}

// sees says whether the answer is right for what is there.
func (o operation) sees(v version) bool {
	there := v.Value != ""
	switch {
	case o.Outcome == exists:
		return there
	case o.Outcome == notFound, o.Kind == create:
		return !there
	case o.Outcome == conflict:
		return there && v.Revision != o.Expected
	}
	return v == o.Found
}

// leaves is what is there after it.
func (o operation) leaves(v version) version {
	switch {
	case !o.writes():
		return v
	case o.Kind == remove:
		return version{Revision: o.Revision}
	}
	return version{Value: o.ID, Revision: o.Revision}
}

// register is a key on its own: each write finds what the last one left, and
// has a later revision.
var register = porcupine.Model{
	Init: func() any { return version{} },
	Step: func(state, _, output any) (bool, any) {
		now, o := state.(version), output.(operation)
		if !o.sees(now) || o.writes() && o.Revision <= now.Revision {
			return false, now
		}
		return true, o.leaves(now)
	},
}

// patienceOfTheModel bounds the search for an order.
const patienceOfTheModel = 20 * time.Second

// linearizable says whether the answers about each key could have been given one
// after the other, each between its call and its return. A list is a look at
// each key.
func linearizable(operations []operation, keys []string) error {
	for _, key := range keys {
		var about []porcupine.Operation
		for _, o := range operations {
			switch {
			case o.Outcome == lost, o.Outcome == unavailable, o.Kind == list && o.Expected != 0, o.Kind != list && o.Key != key:
				continue
			case o.Kind == list:
				o.Found = o.List[key]
				if o.Found == (version{}) {
					o.Outcome = notFound
				}
			}
			about = append(about, porcupine.Operation{Call: o.Call, Output: o, Return: o.Return})
		}
		if result := porcupine.CheckOperationsTimeout(register, about, patienceOfTheModel); result != porcupine.Ok {
			return fmt.Errorf("what %d operations were told of %s is linearizable: %s", len(about), key, result)
		}
	}
	return nil
}

// entry is a line of the change log.
type entry struct {
	Revision   int64
	Key, Value string
	Previous   version
}

func (e entry) version() version { return version{e.Value, e.Revision} }

// history is all that is known of what clients did with some keys.
type history struct {
	// start is the revision before the first change.
	start      int64
	operations []operation
	log        []entry
	// table is what is there in the end.
	table map[string]version
}

// begin is called before the first operation.
func begin(t *testing.T, pool *pgxpool.Pool) *history {
	t.Helper()
	h := &history{}
	require.NoError(t, pool.QueryRow(t.Context(), readClock).Scan(&h.start, nil))
	return h
}

// end is called after the last operation. It writes the last key, so that
// watchers end, and is itself a watcher that comes late.
func (h *history) end(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	s := podStore(openBackendOn(t, pool))
	newClient(s, "", func(o operation) {
		if o.Return != 0 {
			h.operations = append(h.operations, o)
		}
	}).do(operation{ID: "last", Kind: create, Key: lastKey})
	require.NoError(t, h.readDatabase(t.Context(), pool))
	var seen []sight
	require.NoError(t, follow(t.Context(), s, h.start, func(s sight) { seen = append(seen, s) }))
	require.NoError(t, h.watched(seen), "a watcher that comes late")
}

// readDatabase adds what the database knows.
func (h *history) readDatabase(ctx context.Context, pool *pgxpool.Pool) error {
	var changes []change
	rows, err := pool.Query(ctx, readChanges, h.start, math.MaxInt32)
	if err == nil {
		err = collect(&changes)(rows)
	}
	if err != nil {
		return err
	}
	for _, c := range changes {
		e := entry{Revision: c.revision, Key: c.key, Previous: version{Revision: c.previousRevision}}
		if e.Value, err = valueIn(c.data); err != nil {
			return err
		}
		if e.Previous.Value, err = valueIn(c.previous); err != nil {
			return err
		}
		h.log = append(h.log, e)
	}
	var p page
	if rows, err = pool.Query(ctx, readObjects, "/pods/", "/pods0", nil); err == nil {
		err = p.fill(rows, 0)
	}
	h.table = map[string]version{}
	for _, r := range p.rows {
		value, err := valueIn(r.data)
		if err != nil {
			return err
		}
		h.table[r.key] = version{value, r.revision}
	}
	return err
}

func valueIn(data []byte) (string, error) {
	if data == nil {
		return "", nil
	}
	obj, err := runtime.Decode(podCodec, data)
	if err != nil {
		return "", err
	}
	return versionOf(obj).Value, nil
}

// versionOf reads a pod that a client of ours wrote.
func versionOf(obj runtime.Object) version {
	pod := obj.(*example.Pod)
	revision, err := storage.APIObjectVersioner{}.ObjectResourceVersion(pod)
	if err != nil {
		panic(err)
	}
	return version{pod.Spec.NodeName, int64(revision)}
}

// check compares what was told with what is there, and with how it came about.
func (h *history) check() error {
	for _, o := range h.operations {
		if !slices.Contains([]string{answered, exists, notFound, conflict, unavailable, lost}, o.Outcome) {
			return fmt.Errorf("that is no answer: %s", o)
		}
	}
	versions, err := h.replay()
	if err != nil {
		return err
	}
	if err := h.settle(); err != nil {
		return err
	}
	if err := inOrder(h.operations, versions); err != nil {
		return err
	}
	return linearizable(h.operations, slices.Collect(maps.Keys(versions)))
}

// outcomes counts the operations by what came of them.
func (h *history) outcomes() map[string]int {
	counts := map[string]int{}
	for _, o := range h.operations {
		counts[o.Kind+" "+o.Outcome]++
		counts[o.Outcome]++
	}
	return counts
}

// replay follows the log from nothing to what is there in the end. It returns
// all that was ever there: by key, in the order of the revisions.
func (h *history) replay() (map[string][]version, error) {
	now, versions := map[string]version{}, map[string][]version{}
	for i, e := range h.log {
		switch {
		case e.Revision != h.start+1+int64(i):
			return nil, fmt.Errorf("revision %d follows %d", e.Revision, h.start+int64(i))
		case e.Previous != now[e.Key]:
			return nil, fmt.Errorf("the log says that %+v replaced %+v, and not %+v", e, e.Previous, now[e.Key])
		case versions[e.Key] == nil:
			versions[e.Key] = []version{{}}
		}
		versions[e.Key] = append(versions[e.Key], e.version())
		now[e.Key] = e.version()
		if e.Value == "" {
			delete(now, e.Key)
		}
	}
	if !maps.Equal(now, h.table) {
		return nil, fmt.Errorf("the log leads to %v, but there is %v", now, h.table)
	}
	return versions, nil
}

// settle finds for each change who made it, and so what became of operations
// that were lost.
func (h *history) settle() error {
	values, made := map[string]entry{}, map[int64]*operation{}
	for _, e := range h.log {
		values[e.Value] = e
	}
	for i := range h.operations {
		o := &h.operations[i]
		if e, done := values[o.ID]; done && o.Outcome == lost {
			o.happened(e)
		}
		if !o.writes() {
			continue
		}
		if other := made[o.Revision]; other != nil {
			return fmt.Errorf("one revision for two: %s and %s", other, o)
		}
		made[o.Revision] = o
	}
	for _, e := range h.log {
		if o := h.lostDeletion(e.Key); o != nil && e.Value == "" && made[e.Revision] == nil {
			o.happened(e)
			made[e.Revision] = o
		}
	}
	return h.agree(made)
}

// happened settles what was lost. When, is all that is not known of it.
func (o *operation) happened(e entry) {
	o.Outcome, o.Found, o.Revision, o.Return = answered, e.Previous, e.Revision, math.MaxInt64
}

// lostDeletion is one that may have made a change that nobody else made. They
// look alike: that it was the one that was called first leaves most room for the
// others.
func (h *history) lostDeletion(key string) (first *operation) {
	for i := range h.operations {
		o := &h.operations[i]
		if o.Outcome == lost && o.Kind == remove && o.Key == key && (first == nil || o.Call < first.Call) {
			first = o
		}
	}
	return first
}

// agree compares each change with what its maker was told.
func (h *history) agree(made map[int64]*operation) error {
	for _, e := range h.log {
		o := made[e.Revision]
		if o == nil {
			return fmt.Errorf("nobody made %+v", e)
		}
		if o.Key != e.Key || o.leaves(version{}) != e.version() || o.Found != e.Previous {
			return fmt.Errorf("the log has %+v for %s", e, o)
		}
		delete(made, e.Revision)
	}
	for _, o := range made {
		return fmt.Errorf("acknowledged, and not in the log: %s", o)
	}
	return nil
}

// inOrder gives each operation the earliest place in the order of all revisions
// that its answer fits to: not before the place of one that returned before it
// was called. A list must be what was there at its revision.
func inOrder(operations []operation, versions map[string][]version) error {
	sort.SliceStable(operations, func(i, j int) bool { return operations[i].Call < operations[j].Call })
	byReturn := make([]*operation, len(operations))
	for i := range operations {
		byReturn[i] = &operations[i]
	}
	sort.SliceStable(byReturn, func(i, j int) bool { return byReturn[i].Return < byReturn[j].Return })
	places := map[*operation]int64{}
	var least int64
	for i := range operations {
		o := &operations[i]
		for ; len(byReturn) > 0 && byReturn[0].Return < o.Call; byReturn = byReturn[1:] {
			least = max(least, places[byReturn[0]])
		}
		place, found := o.place(least, versions)
		if !found {
			return fmt.Errorf("nothing that was there since revision %d explains %s", least, o)
		}
		places[o] = place
	}
	return nil
}

// place is the first revision, from least on, that the answer fits to.
func (o *operation) place(least int64, versions map[string][]version) (int64, bool) {
	switch {
	case o.Outcome == lost, o.Outcome == unavailable:
		return 0, true
	case o.writes():
		return o.Revision, o.Revision > least
	case o.Kind == list:
		fits := maps.Equal(o.List, thereAt(versions, o.Revision))
		if o.Expected != 0 { // of the past
			return 0, fits && o.Revision == o.Expected
		}
		return o.Revision, fits && o.Revision >= least
	}
	all := versions[o.Key]
	if all == nil {
		all = []version{{}}
	}
	for i := currentAt(all, least); i < len(all); i++ {
		if o.sees(all[i]) {
			return max(least, all[i].Revision), true
		}
	}
	return 0, false
}

// thereAt is the state at a revision.
func thereAt(versions map[string][]version, revision int64) map[string]version {
	there := map[string]version{}
	for key, all := range versions {
		if v := all[currentAt(all, revision)]; v.Value != "" {
			there[key] = v
		}
	}
	return there
}

// currentAt is the index of what was there at a revision.
func currentAt(versions []version, revision int64) int {
	return sort.Search(len(versions), func(i int) bool { return versions[i].Revision > revision }) - 1
}
