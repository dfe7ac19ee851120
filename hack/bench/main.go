// Command bench measures the store of this repository and kine side by side: on
// the same PostgreSQL server, in turns, in several rounds.
//
// There are three levels: 1 is through the manager's API server, which has the
// one or the other below it; 2 is straight at upstream's storage interface, with
// no API server and no watch cache; 3 is memory. All load comes from processes
// of their own, and a watcher in each of them checks that it sees every write
// exactly once and in order.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"galaxy.io/runtime-manager/pkg/postgres"
)

// maxConnections is above PostgreSQL's default of 100 for kine's sake. It holds
// two connections for each write in hand, and a creation that gets none is
// acknowledged all the same, and lost.
const maxConnections = "max_connections=400"

// keepConnections spares kine what its default of 20 idle connections costs it
// at 64 clients: most writes would open and close two connections.
const keepConnections = "--datastore-max-idle-connections=200"

// bench is a run.
type bench struct {
	levels     string
	rounds     int
	window     time.Duration
	clients    []int
	ops        []string
	contenders []string
	records    int
	many       int
	processes  int
	kine       []string
	template   string
	profiles   string

	dir      string // for what is thrown away
	database database
	seen     map[string]*Seen // by contender
}

func main() {
	klog.SetLogger(logr.Discard())
	if encoded := os.Getenv(jobKey); encoded != "" {
		var j job
		exit(errors.Join(json.Unmarshal([]byte(encoded), &j), child(j)))
	}
	// Children are killed when the context ends, so that all of this unwinds.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(run(ctx))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(ctx context.Context) (err error) {
	b, url := parseFlags()
	if b.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := os.Chmod(b.dir, 0o711); err != nil { // PostgreSQL may be another user
		return err
	}
	if url == "" {
		server, err := postgres.StartEmbedded(ctx, postgres.EmbeddedOptions{
			Dir: filepath.Join(b.dir, "postgres"), Settings: []string{maxConnections}, Log: logr.Discard(),
		})
		if err != nil {
			return err
		}
		defer func() { _ = server.Stop(context.WithoutCancel(ctx)) }() // its data is thrown away
		url = server.URL()
	}
	if b.database, err = connect(ctx, url); err != nil {
		return err
	}
	described, err := b.database.describe(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%s\nkine %s; %d round(s), windows of %v, medians; %s records\n",
		described, version("github.com/k3s-io/kine"), b.rounds, b.window, b.template)
	for _, level := range strings.Split(b.levels, ",") {
		run, ok := map[string]func(context.Context) error{"1": b.throughAPI, "2": b.atStorage, "3": b.inMemory}[level]
		if !ok {
			return fmt.Errorf("there is no level %q", level)
		}
		if err := run(ctx); err != nil {
			return errors.Join(ctx.Err(), err)
		}
	}
	return nil
}

func parseFlags() (b *bench, url string) {
	b = &bench{seen: map[string]*Seen{}}
	list := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
	}
	flag.StringVar(&b.levels, "level", "1,2,3", "what to measure: 1 through the API server, 2 at the storage interface, 3 memory")
	flag.IntVar(&b.rounds, "rounds", 3, "rounds, of which the median is printed")
	flag.DurationVar(&b.window, "window", 2*time.Second, "how long each load is put on")
	flag.IntVar(&b.records, "records", 10000, "records to begin with, and to list")
	flag.IntVar(&b.many, "many", 0, "records for one more measurement of memory, of ours alone, such as 100000 (takes minutes)")
	flag.IntVar(&b.processes, "processes", 3, "processes on one database, of 16 clients each, at the end of level 2; 0 for none")
	flag.StringVar(&b.profiles, "cpuprofile", "", "directory for CPU profiles of the processes that serve, one a round")
	flag.StringVar(&url, "database-url", "", "PostgreSQL server to use; by default a child with default settings is started in TMPDIR")
	flag.StringVar(&b.template, "record", "minimal", "what is written: minimal, a game with an image, or full, one of about 1 kB")
	clients := flag.String("clients", "1,16,64", "numbers of clients")
	ops := flag.String("ops", "create,update,mixed", "kinds of load; mixed is 50 % update, 20 % create, 20 % get, 10 % delete")
	contenders := flag.String("contenders", "ours,kine", "what to measure")
	kine := flag.String("kine", keepConnections, "flags of kine's")
	flag.Parse()
	b.ops, b.contenders, b.kine = list(*ops), list(*contenders), strings.Fields(*kine)
	if templates[b.template] == "" {
		exit(fmt.Errorf("-record: there is no template %q: minimal or full", b.template))
	}
	for _, c := range list(*clients) {
		n, err := strconv.Atoi(c)
		if err != nil {
			exit(fmt.Errorf("-clients: %w", err))
		}
		b.clients = append(b.clients, n)
	}
	return b, url
}

// profile is the file for a CPU profile, if any is wanted.
func (b *bench) profile(level, name string) string {
	if b.profiles == "" {
		return ""
	}
	for n := 1; ; n++ {
		path := filepath.Join(b.profiles, fmt.Sprintf("%s-%s-%d.pprof", level, name, n))
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return path
		}
	}
}

func version(module string) string {
	info, _ := debug.ReadBuildInfo()
	for _, m := range info.Deps {
		if m.Path == module {
			return m.Version
		}
	}
	return "unknown"
}
