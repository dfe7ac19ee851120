package apiserver

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"galaxy.io/runtime-manager/config"
	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
	"galaxy.io/runtime-manager/pkg/store"
)

// edited is the definition of GameRuntime with one text replaced.
func edited(t *testing.T, from, to string) fs.FS {
	t.Helper()
	const file = "crd/bases/runtime.galaxy.io_gameruntimes.yaml"
	content, err := fs.ReadFile(config.CRDs, file)
	require.NoError(t, err)
	require.Contains(t, string(content), from)
	return fstest.MapFS{file: {Data: []byte(strings.Replace(string(content), from, to, 1))}}
}

func TestRestart(t *testing.T) {
	backend, dir := openStore(t, store.Options{Pool: postgrestest.Schema(t)}), t.TempDir()
	older := edited(t, "    - gr\n", "    - old\n")
	first := start(t, backend, dir, "127.0.0.1:0", older)
	_, err := first.games("default").Create(t.Context(), game("chess"), metav1.CreateOptions{})
	require.NoError(t, err)
	require.Contains(t, first.kubectl("", "get", "old"), "chess")
	kubeconfig, err := os.ReadFile(first.Kubeconfig())
	require.NoError(t, err)
	address := first.generic.SecureServingInfo.Listener.Addr().String()
	first.stop()
	before := goleak.IgnoreCurrent() // upstream keeps some for the whole process

	second := start(t, backend, dir, address, config.CRDs)
	again, err := os.ReadFile(second.Kubeconfig())
	require.NoError(t, err)
	require.Equal(t, string(kubeconfig), string(again), "a kubeconfig handed out stays good")
	require.Contains(t, second.kubectl("", "get", "gr"), "chess", "objects outlive the process, and a newer binary brings its own definition")
	second.stop()
	// A consistent read leaves a timer of three seconds, which nothing cuts short.
	timer := goleak.IgnoreAnyFunction("k8s.io/apiserver/pkg/storage/cacher.(*watchCache).waitUntilFreshLocked.func2")
	goleak.VerifyNone(t, before, timer)
}

func TestADefinitionThatTheServerRefusesEndsTheRun(t *testing.T) {
	bad := edited(t, "fieldPath: .metadata\n", "fieldPath: .nowhere\n")
	server, err := New(Options{Store: openStore(t, store.Options{Pool: postgrestest.Schema(t)}), Dir: t.TempDir(), Listener: listen(t, "127.0.0.1:0"), CRDs: bad, Log: logr.Discard()})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.ErrorContains(t, server.Run(ctx), "must be a valid path")
	select {
	case <-server.Ready():
		require.Fail(t, "ready, with a definition that is not served")
	default:
	}
}

func TestAStopDuringTheStartIsAnOrderlyOne(t *testing.T) {
	server, err := New(Options{Store: openStore(t, store.Options{Pool: postgrestest.Schema(t)}), Dir: t.TempDir(), Listener: listen(t, "127.0.0.1:0"), CRDs: config.CRDs, Log: logr.Discard()})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, server.Run(ctx))
}

func TestAManifestThatIsNoneIsNamed(t *testing.T) {
	_, err := readCRDs(fstest.MapFS{"crd/odd.yaml": {Data: []byte("spec: {colour: red}")}})
	require.ErrorContains(t, err, "crd/odd.yaml")
}

func TestAnUnwritableDirectoryIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	listener := listen(t, "127.0.0.1:0")
	defer func() { _ = listener.Close() }()
	_, err := New(Options{Dir: file, Listener: listener, CRDs: config.CRDs})
	require.ErrorContains(t, err, file)
}
