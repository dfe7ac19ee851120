package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/jackc/pgx/v5"
)

// role and database of the child server.
const role = "runtime_manager"

// startTimeout is how long the child may take to answer; longer after a crash,
// when it replays its log.
const startTimeout = 2 * time.Minute

// EmbeddedOptions say where the child server lives.
type EmbeddedOptions struct {
	// Dir holds its data, its socket and its log.
	Dir string
	// Settings of the server, each name=value, prevail over our own.
	Settings []string
	Log      logr.Logger
}

// Embedded is a PostgreSQL server that runs as our child: on a unix socket that
// nobody else can reach, as an unprivileged user when we are root, and no longer
// than we do.
type Embedded struct {
	home     home
	programs programs
	settings []string
	log      logr.Logger

	mu    sync.Mutex
	child *child
}

// StartEmbedded initialises the data directory if need be, deals with what a
// predecessor that was killed left behind, and starts the server.
func StartEmbedded(ctx context.Context, options EmbeddedOptions) (*Embedded, error) {
	programs, err := findPrograms()
	if err != nil {
		return nil, err
	}
	h, err := makeHome(options.Dir)
	if err != nil {
		return nil, err
	}
	if h.dir != options.Dir {
		options.Log.Info("the server's user cannot reach the data directory, keeping the database elsewhere", "user", h.user.name, "dir", h.dir)
	}
	if !h.initialised() {
		options.Log.Info("making a database, which takes a few seconds, once")
	}
	if err := h.initialise(ctx, programs); err != nil {
		return nil, err
	}
	e := &Embedded{home: h, programs: programs, settings: options.Settings, log: options.Log}
	if err := e.start(ctx); err != nil {
		return nil, err
	}
	options.Log.Info("embedded PostgreSQL started", "version", h.version())
	return e, nil
}

// URL is how to connect to it.
func (e *Embedded) URL() string {
	return fmt.Sprintf("postgres://%s@/postgres?host=%s", role, url.QueryEscape(e.home.socket))
}

// Exited is closed when the server that runs now ended, asked to or not.
func (e *Embedded) Exited() <-chan struct{} { return e.running().exited }

func (e *Embedded) running() *child {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.child
}

// start leaves a server that answers, or none.
func (e *Embedded) start(ctx context.Context) error {
	if err := e.home.clearLeftovers(ctx); err != nil {
		return err
	}
	c, err := e.home.startChild(e.programs, e.settings)
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.child = c
	e.mu.Unlock()
	if err := e.awaitAnswer(ctx, c); err != nil {
		return errors.Join(err, c.stop(ctx))
	}
	return nil
}

func (e *Embedded) awaitAnswer(ctx context.Context, c *child) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	retry := time.NewTicker(25 * time.Millisecond)
	defer retry.Stop()
	for {
		conn, err := pgx.Connect(ctx, e.URL())
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-c.exited:
			return fmt.Errorf("PostgreSQL ended while starting: %s", e.home.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("waiting for PostgreSQL to answer: %w: %s", ctx.Err(), e.home.lastWords())
		case <-retry.C:
		}
	}
}

// Stop shuts the server down; when ctx ends first, at once, which costs it a
// replay of its log at the next start. It may be called again, but not while
// Keep runs.
func (e *Embedded) Stop(ctx context.Context) error { return e.running().stop(ctx) }

// programs of a PostgreSQL installation.
type programs struct{ initdb, postgres string }

// findPrograms looks on the PATH, then where distributions keep them, the
// newest version first.
func findPrograms() (programs, error) {
	if initdb, err := exec.LookPath("initdb"); err == nil {
		if postgres, err := exec.LookPath("postgres"); err == nil {
			return programs{initdb, postgres}, nil
		}
	}
	var newest string
	var newestVersion float64
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql*/bin"} {
		dirs, _ := filepath.Glob(pattern) // the patterns are well-formed
		for _, dir := range dirs {
			if v := versionIn(dir); v >= newestVersion && executable(filepath.Join(dir, "initdb")) && executable(filepath.Join(dir, "postgres")) {
				newest, newestVersion = dir, v
			}
		}
	}
	if newest == "" {
		return programs{}, errors.New("no PostgreSQL programs found: install them (Debian: apt-get install postgresql), or set --database-url to a server you have")
	}
	return programs{filepath.Join(newest, "initdb"), filepath.Join(newest, "postgres")}, nil
}

// versionIn reads the version out of a path such as /usr/lib/postgresql/15/bin.
func versionIn(dir string) float64 {
	var version float64
	text := strings.TrimPrefix(filepath.Base(filepath.Dir(dir)), "pgsql-")
	if _, err := fmt.Sscanf(text, "%g", &version); err != nil {
		return 0
	}
	return version
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&0o111 != 0
}
