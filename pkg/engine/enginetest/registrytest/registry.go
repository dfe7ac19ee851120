// Package registrytest runs an image registry for one test: the very program
// that Docker's own registry is, with a password, behind a door that counts who
// comes and can be shut.
package registrytest

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The one user of the registry.
const (
	User     = "galaxy"
	Password = "open sesame"
	// hash is the password's, as htpasswd -B makes it.
	hash = "$2a$04$oXjWB22K9w/tsMHW.s0XMu2h2ZRa9U5HQBpiJpbrWPIyDyV6tPG.a"
)

// Registry is one that runs.
type Registry struct {
	// Host is its address, which a local engine trusts without TLS.
	Host string

	t         testing.TB
	dir       string // of its own, and of the docker command that pushes
	transport *http.Transport
	door      *http.Server
	pulls     atomic.Int32
}

// Start runs a registry until the test ends.
func Start(t testing.TB) *Registry {
	t.Helper()
	dir := t.TempDir()
	socket := filepath.Join(dir, "socket")
	write(t, filepath.Join(dir, "users"), User+":"+hash+"\n")
	write(t, filepath.Join(dir, "registry.yml"), fmt.Sprintf(`version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %[1]s/images}}
http: {net: unix, addr: %[2]s, relativeurls: true}
auth: {htpasswd: {realm: galaxy, path: %[1]s/users}}
`, dir, socket))
	command := exec.CommandContext(context.WithoutCancel(t.Context()), program(t), "serve", filepath.Join(dir, "registry.yml"))
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	defer log.Close()
	command.Stdout, command.Stderr = log, log
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait() // it was killed
	})

	r := &Registry{Host: "127.0.0.1:0", t: t, dir: dir, transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	r.Open()
	t.Cleanup(r.Shut)
	t.Cleanup(r.sweep)
	r.Login(filepath.Join(dir, "config.json"), Password)
	for deadline := time.Now().Add(time.Minute); !r.answers(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			said, _ := os.ReadFile(log.Name())
			t.Fatalf("the registry does not start: %s", said)
		}
	}
	return r
}

// program finds the registry where make registry puts it.
func program(t testing.TB) string {
	t.Helper()
	if path, err := exec.LookPath("docker-registry"); err == nil {
		return path
	}
	root, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}").Output()
	require.NoError(t, err)
	path := filepath.Join(strings.TrimSpace(string(root)), "bin", "docker-registry")
	require.FileExists(t, path, "make registry puts it there")
	return path
}

func (r *Registry) answers() bool {
	answer, err := http.Get("http://" + r.Host + "/v2/")
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	return answer.StatusCode == http.StatusUnauthorized
}

// Push puts a local image there, and returns its name in the registry. The local
// engine keeps nothing of that name.
func (r *Registry) Push(image, name string) (ref string) {
	r.t.Helper()
	ref = r.Host + "/" + name
	r.docker("tag", image, ref)
	defer r.docker("rmi", ref)
	r.docker("--config", r.dir, "push", "-q", ref)
	return ref
}

// sweep takes from the local engine the names that images have from here; an
// image goes with its last name.
func (r *Registry) sweep() {
	for _, line := range strings.Split(r.docker("image", "ls", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}"), "\n") {
		name := strings.Fields(line)
		switch {
		case !strings.HasPrefix(line, r.Host+"/"):
		case name[1] != "<none>":
			r.docker("rmi", name[0]+":"+name[1])
		default:
			r.docker("rmi", name[0]+"@"+name[2])
		}
	}
}

func (r *Registry) docker(args ...string) string {
	r.t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	require.NoError(r.t, err, "docker %s: %s", strings.Join(args, " "), out)
	return string(out)
}

// Login writes a file in the form of Docker's config.json with a password for
// the registry, right or wrong.
func (r *Registry) Login(file, password string) {
	r.t.Helper()
	auth := base64.StdEncoding.EncodeToString([]byte(User + ":" + password))
	write(r.t, file, fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, r.Host, auth))
}

// Pulls counts the pulls that found their image.
func (r *Registry) Pulls() int { return int(r.pulls.Load()) }

func write(t testing.TB, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}
