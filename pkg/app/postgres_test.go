//go:build integration

package app

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/clientcmd"

	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

// The engine is not there, and not missed.
func TestPostgresKilledIsStartedAgain(t *testing.T) {
	m := startManager(t, func(c *Config) { c.DockerHost = "unix://" + filepath.Join(t.TempDir(), "nobody.sock") })
	m.create(game("chess"))

	// The data is away for a moment, lest the server be back before we look.
	dir := filepath.Join(m.config.DataDir, "postgres")
	data, away := filepath.Join(dir, "data"), filepath.Join(dir, "away")
	require.NoError(t, os.Mkdir(away, 0o711))
	require.NoError(t, os.Rename(data, filepath.Join(away, "data")))
	postgrestest.Kill(t, away)
	m.eventually("the manager is not ready", func() bool { return !m.healthy("postgres") })
	require.NoError(t, os.Rename(filepath.Join(away, "data"), data))
	m.eventually("the manager is ready", func() bool { return m.healthy("postgres") && m.healthy("watch") })

	m.read("chess")
	m.create(game("go"))
	m.stop() // an orderly end: the manager outlived its server
	require.NoFileExists(t, filepath.Join(data, "postmaster.pid"), "its server ends with it")
}

// healthy asks one check of /readyz.
func (m *manager) healthy(check string) bool {
	m.t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", m.kubeconfig)
	require.NoError(m.t, err)
	api, err := discovery.NewDiscoveryClientForConfig(config)
	require.NoError(m.t, err)
	return api.RESTClient().Get().AbsPath("/readyz/"+check).Do(context.Background()).Error() == nil
}
