package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/apiserver/pkg/storage"

	"galaxy.io/runtime-manager/pkg/postgres"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

const (
	// processes share the database, each with some clients.
	processes         = 3
	clientsPerProcess = 4
	// contested is how many keys the clients fight over.
	contested = 5
	// stretch is how many operations each process does between two faults.
	stretch = 500
	// operationTimeout ends what hangs.
	operationTimeout = 40 * time.Second
	// catchUpTimeout is how long a watcher may take to see all in the end.
	catchUpTimeout = 30 * time.Second
)

// lastKey tells the watchers that nothing follows.
const lastKey = "/pods/default/last"

// client does one operation after the other, and records each before and after.
type client struct {
	store  *Store
	name   string
	record func(operation)
	// known is what it saw last of each key, as a cache would; listed is the
	// revision of its last list.
	known  map[string]*example.Pod
	listed int64
}

func newClient(s *Store, name string, record func(operation)) *client {
	return &client{store: s, name: name, record: record, known: map[string]*example.Pod{}}
}

func (c *client) run(stop <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
			c.do(c.next(fmt.Sprintf("%s-%d", c.name, n)))
		}
	}
}

// next is what a client may want: half of its updates and deletions insist on
// what it saw last.
func (c *client) next(id string) operation {
	o := operation{ID: id, Key: fmt.Sprintf("/pods/default/k%d", rand.N(contested))}
	o.Kind = []string{create, create, get, get, get, update, update, update, update, remove, list, list}[rand.N(12)]
	switch known := c.known[o.Key]; {
	case rand.N(2) == 0:
	case o.Kind == list:
		o.Expected = c.listed
	case known != nil && (o.Kind == update || o.Kind == remove):
		o.Expected = versionOf(known).Revision
	}
	return o
}

// do calls the storage.
func (c *client) do(o operation) {
	ctx, cancel := context.WithTimeout(context.Background(), operationTimeout)
	defer cancel()
	o.Call, o.Outcome = monotonic(), lost
	c.record(o)
	out := &example.Pod{}
	var err error
	switch o.Kind {
	case create:
		pod := &example.Pod{ObjectMeta: metav1.ObjectMeta{Name: filepath.Base(o.Key), Namespace: "default"}, Spec: example.PodSpec{NodeName: o.ID}}
		if err = c.store.Create(ctx, o.Key, pod, out, 0); err == nil {
			o.Revision = versionOf(out).Revision
		}
	case get:
		if err = c.store.Get(ctx, o.Key, storage.GetOptions{}, out); err == nil {
			o.Found = versionOf(out)
		}
	case update:
		err = c.update(ctx, &o, out)
	case remove:
		err = c.store.Delete(ctx, o.Key, out, o.preconditions(), func(_ context.Context, obj runtime.Object) error {
			o.Found = versionOf(obj)
			return nil
		}, c.suggestion(o), storage.DeleteOptions{})
		if err == nil {
			o.Revision = versionOf(out).Revision
		}
	case list:
		err = c.list(ctx, &o)
	}
	if o.Outcome = outcomeOf(err); err != nil {
		o.Error = err.Error()
	} else if o.Kind != list {
		c.known[o.Key] = out
	}
	o.Return = monotonic()
	c.record(o)
}

func (c *client) update(ctx context.Context, o *operation, out *example.Pod) error {
	err := c.store.GuaranteedUpdate(ctx, o.Key, out, false, o.preconditions(), func(obj runtime.Object, _ storage.ResponseMeta) (runtime.Object, *uint64, error) {
		o.Found = versionOf(obj)
		obj.(*example.Pod).Spec.NodeName = o.ID
		return obj, nil, nil
	}, c.suggestion(*o))
	if err == nil {
		o.Revision = versionOf(out).Revision
	}
	return err
}

func (c *client) list(ctx context.Context, o *operation) error {
	opts := storage.ListOptions{Predicate: storage.Everything, Recursive: true}
	if o.Expected != 0 {
		opts.ResourceVersion, opts.ResourceVersionMatch = fmt.Sprint(o.Expected), metav1.ResourceVersionMatchExact
	}
	var pods example.PodList
	if err := c.store.GetList(ctx, "/pods/", opts, &pods); err != nil {
		return err
	}
	revision, err := c.store.Versioner().ParseResourceVersion(pods.ResourceVersion)
	if err != nil {
		return err
	}
	o.Revision, o.List, c.listed = int64(revision), map[string]version{}, int64(revision)
	for i := range pods.Items {
		o.List["/pods/default/"+pods.Items[i].Name] = versionOf(&pods.Items[i])
	}
	return nil
}

func (o operation) preconditions() *storage.Preconditions {
	if o.Expected == 0 {
		return nil
	}
	expected := fmt.Sprint(o.Expected)
	return &storage.Preconditions{ResourceVersion: &expected}
}

// suggestion is what a cache that may be late says is there.
func (c *client) suggestion(o operation) runtime.Object {
	if known := c.known[o.Key]; known != nil && rand.N(2) == 0 {
		return known.DeepCopy()
	}
	return nil
}

func outcomeOf(err error) string {
	switch {
	case err == nil:
		return answered
	case storage.IsExist(err):
		return exists
	case storage.IsNotFound(err):
		return notFound
	case storage.IsInvalidObj(err): // a precondition
		return conflict
	case apierrors.IsServiceUnavailable(err):
		return unavailable
	case apierrors.IsTimeout(err):
		return lost
	}
	return err.Error()
}

// monotonic is the machine's clock, which all processes share and nobody sets.
func monotonic() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err)
	}
	return now.Nano()
}

// follow watches everything after a revision, until the last key appears.
func follow(ctx context.Context, s *Store, start int64, see func(sight)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := s.Watch(ctx, "/pods/", storage.ListOptions{ResourceVersion: fmt.Sprint(start), Predicate: storage.Everything, Recursive: true})
	if err != nil {
		return err
	}
	for e := range w.ResultChan() {
		if e.Type == watch.Error {
			return apierrors.FromObject(e.Object)
		}
		seen := sight{e.Type, "/pods/default/" + e.Object.(*example.Pod).Name, versionOf(e.Object)}
		see(seen)
		if seen.Key == lastKey {
			return nil
		}
	}
	return errors.New("the watch was closed")
}

// beClients makes this test binary be a process with clients. It holds the
// clientProcess.
const beClients = "STORE_TEST_BE_CLIENTS"

// clientProcess is such a process.
type clientProcess struct {
	Name, URL, Dir string
	// Start is the revision that its watcher has seen.
	Start int64

	cmd *exec.Cmd
	// input ends the clients when it is closed; output is closed when they ended.
	input  io.Closer
	output io.Reader
	// predecessor was killed; its watch goes on here.
	predecessor *clientProcess
}

func (p *clientProcess) path(what string) string { return filepath.Join(p.Dir, p.Name+"."+what) }

// runClients is the main function of a process with clients.
func runClients(config string) error {
	var p clientProcess
	if err := json.Unmarshal([]byte(config), &p); err != nil {
		return err
	}
	ctx := context.Background()
	pool, err := postgres.Open(ctx, p.URL)
	if err != nil {
		return err
	}
	defer pool.Close()
	b, err := open(ctx, Options{Pool: pool, Log: logr.Discard()}, time.Hour)
	if err != nil {
		return err
	}
	defer b.Close()
	watched := make(chan error, 1)
	go func() { watched <- follow(ctx, podStore(b), p.Start, writeTo[sight](p.path("watch"))) }()
	record, stop := writeTo[operation](p.path("operations")), make(chan struct{})
	var running sync.WaitGroup
	for i := range clientsPerProcess {
		c := newClient(podStore(b), fmt.Sprintf("%s-%d", p.Name, i), record)
		running.Go(func() { c.run(stop) })
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // it ends with the test, if not before
	close(stop)
	running.Wait()
	_ = os.Stdout.Close() // this is the message
	select {
	case err := <-watched:
		return err
	case <-time.After(catchUpTimeout):
		return errors.New("the watcher does not come to the end")
	}
}

// writeTo returns a function that appends lines to a file. Each is handed to the
// kernel at once: the end of the process loses none.
func writeTo[T any](path string) func(T) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	return func(v T) {
		line, err := json.Marshal(v)
		if err == nil {
			_, err = file.Write(append(line, '\n'))
		}
		if err != nil {
			panic(err)
		}
	}
}

// lines reads what a process wrote, but for a line that it did not finish.
func lines[T any](t *testing.T, path string) (read []T) {
	t.Helper()
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	require.NoError(t, err)
	for line := range bytes.Lines(content[:bytes.LastIndexByte(content, '\n')+1]) {
		var v T
		require.NoError(t, json.Unmarshal(line, &v))
		read = append(read, v)
	}
	return read
}

func startClients(t *testing.T, p clientProcess) *clientProcess {
	t.Helper()
	config, err := json.Marshal(p)
	require.NoError(t, err)
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), beClients+"="+string(config))
	p.cmd.Stderr = os.Stderr
	p.input, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	p.output, err = p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() { _ = p.cmd.Process.Kill() }) // it has ended, unless the test failed
	return &p
}

// kill ends the process without a warning.
func (p *clientProcess) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGKILL))
	require.Error(t, p.cmd.Wait())
}

// succeed starts a process that goes on where the watcher of one that was killed
// was.
func (p *clientProcess) succeed(t *testing.T) *clientProcess {
	t.Helper()
	next := clientProcess{Name: p.Name + "x", URL: p.URL, Dir: p.Dir, Start: p.Start, predecessor: p}
	for _, s := range lines[sight](t, p.path("watch")) {
		next.Start = s.Revision
	}
	return startClients(t, next)
}

// operations returns those of its clients and its predecessors', as they ended,
// or as they began.
func (p *clientProcess) operations(t *testing.T) (operations []operation) {
	t.Helper()
	if p.predecessor != nil {
		operations = p.predecessor.operations(t)
	}
	began := map[string]int{}
	for _, o := range lines[operation](t, p.path("operations")) {
		if i, ended := began[o.ID]; ended {
			operations[i] = o
			continue
		}
		began[o.ID] = len(operations)
		operations = append(operations, o)
	}
	return operations
}

// sights are what its watcher saw, and its predecessors'.
func (p *clientProcess) sights(t *testing.T) (seen []sight) {
	t.Helper()
	if p.predecessor != nil {
		seen = p.predecessor.sights(t)
	}
	return append(seen, lines[sight](t, p.path("watch"))...)
}

// awaitOperations waits until each process has done some more.
func awaitOperations(t *testing.T, processes []*clientProcess, some int) {
	t.Helper()
	for _, p := range processes {
		began := len(p.operations(t))
		require.Eventually(t, func() bool { return len(p.operations(t)) > began+some }, operationTimeout, 50*time.Millisecond, "%s does nothing", p.Name)
	}
}

// TestEveryAnswerIsLinearizable lets clients of several processes fight over a
// few keys, while processes and PostgreSQL are killed.
func TestEveryAnswerIsLinearizable(t *testing.T) {
	server := postgrestest.StartServer(t, postgrestest.ServerOptions{Settings: []string{"fsync=on", "synchronous_commit=on"}})
	pool := openPool(t, server.URL())
	require.NoError(t, postgres.Migrate(t.Context(), pool))
	h := begin(t, pool)
	running, dir := make([]*clientProcess, processes), t.TempDir()
	for i := range running {
		running[i] = startClients(t, clientProcess{Name: fmt.Sprint("p", i), URL: server.URL(), Dir: dir, Start: h.start})
	}
	killProcess := func(meanwhile func()) {
		gone := running[0]
		gone.kill(t)
		meanwhile()
		running = append(running[1:], gone.succeed(t))
	}
	for _, fault := range []func(){
		func() { killProcess(func() {}) },
		func() { server.Kill(t); server.Start(t) },
		func() { server.Kill(t); killProcess(func() { server.Start(t) }) },
	} {
		awaitOperations(t, running, stretch)
		fault()
	}
	awaitOperations(t, running, stretch)

	for _, p := range running {
		require.NoError(t, p.input.Close())
		_, err := io.Copy(io.Discard, p.output) // until its clients ended
		require.NoError(t, err)
		h.operations = append(h.operations, p.operations(t)...)
	}
	h.end(t, pool)
	outcomes := h.outcomes()
	t.Log(len(h.log), "changes,", outcomes)
	require.NotZero(t, outcomes[lost], "operations that were cut off")
	require.NoError(t, h.check())
	for _, p := range running {
		require.NoError(t, p.cmd.Wait())
		require.NoError(t, h.watched(p.sights(t)), p.Name)
	}
}
