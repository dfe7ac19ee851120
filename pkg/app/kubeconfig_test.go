package app

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// foundAuthority makes the authority of a data directory, as a manager that starts.
func foundAuthority(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	certificate, err := certutil.NewSelfSignedCACert(certutil.Config{CommonName: "test"}, key)
	require.NoError(t, err)
	content, err := certutil.EncodeCertificates(certificate)
	require.NoError(t, err)
	require.NoError(t, certutil.WriteCert(filepath.Join(dir, "pki", "ca.crt"), content))
	content, err = keyutil.MarshalPrivateKeyToPEM(key)
	require.NoError(t, err)
	require.NoError(t, keyutil.WriteKey(filepath.Join(dir, "pki", "ca.key"), content))
	admin := clientcmdapi.NewConfig()
	admin.Clusters["runtime-manager"] = &clientcmdapi.Cluster{Server: "https://127.0.0.1:7443"}
	require.NoError(t, clientcmd.WriteToFile(*admin, filepath.Join(dir, "kubeconfig")))
	return dir
}

func TestKubeconfigIsIssued(t *testing.T) {
	c := DefaultKubeconfigConfig()
	c.Dir, c.User, c.Groups = foundAuthority(t), "alice", []string{"galaxy:viewers", "galaxy:spectators"}
	c.Out = filepath.Join(t.TempDir(), "alice")
	require.NoError(t, os.WriteFile(c.Out, []byte("for all to read"), 0o644))
	var stdout, stderr bytes.Buffer
	require.NoError(t, IssueKubeconfig(c, &stdout, &stderr))
	require.Empty(t, stdout.String())
	require.Equal(t, "warning: the members of galaxy:spectators may do nothing; the groups that may are "+
		"galaxy:admins, galaxy:writers, galaxy:viewers, galaxy:controllers\n", stderr.String())
	info, err := os.Stat(c.Out)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	issued, err := clientcmd.LoadFromFile(c.Out)
	require.NoError(t, err)
	require.Equal(t, "https://127.0.0.1:7443", issued.Clusters["runtime-manager"].Server)

	c.Out, c.Groups, c.Server = "", []string{"galaxy:viewers"}, "https://games.example.org:7443"
	stderr.Reset()
	require.NoError(t, IssueKubeconfig(c, &stdout, &stderr))
	require.Empty(t, stderr.String())
	issued, err = clientcmd.Load(stdout.Bytes())
	require.NoError(t, err)
	require.Equal(t, "https://games.example.org:7443", issued.Clusters["runtime-manager"].Server)
}

func TestKubeconfigThatCannotBeIssued(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*KubeconfigConfig)
		told   string
	}{
		"nobody":               {func(c *KubeconfigConfig) { c.User = "" }, "--user and --group must be given"},
		"no group":             {func(c *KubeconfigConfig) { c.Groups = nil }, "--user and --group must be given"},
		"an empty group":       {func(c *KubeconfigConfig) { c.Groups = []string{""} }, "must have names"},
		"two lines":            {func(c *KubeconfigConfig) { c.User = "a\nb" }, "without blanks"},
		"a user of the server": {func(c *KubeconfigConfig) { c.User = "system:apiserver" }, "the API server's own"},
		"the all-powerful":     {func(c *KubeconfigConfig) { c.Groups = []string{"system:masters"} }, "the API server's own"},
		"no life":              {func(c *KubeconfigConfig) { c.Expires = 0 }, "at most a year"},
		"too long a life":      {func(c *KubeconfigConfig) { c.Expires = 366 * 24 * time.Hour }, "at most a year"},
		"no authority yet":     {func(c *KubeconfigConfig) { c.Dir = t.TempDir() }, "runtime-manager serve founds it"},
		"an unknown server":    {func(c *KubeconfigConfig) { require.NoError(t, os.Remove(filepath.Join(c.Dir, "kubeconfig"))) }, "which --server can give"},
		"a directory of none":  {func(c *KubeconfigConfig) { c.Out = filepath.Join(c.Dir, "none", "file") }, "--out: "},
	} {
		t.Run(name, func(t *testing.T) {
			dir := foundAuthority(t)
			config := DefaultKubeconfigConfig()
			config.Dir, config.User, config.Groups = dir, "alice", []string{"galaxy:viewers"}
			c.change(&config)
			var stdout, stderr bytes.Buffer
			require.ErrorContains(t, IssueKubeconfig(config, &stdout, &stderr), c.told)
			require.Empty(t, stdout.String())
		})
	}
}

func TestKubeconfigNeedsTheKeyOfTheAuthority(t *testing.T) {
	c := DefaultKubeconfigConfig()
	c.Dir, c.User, c.Groups = foundAuthority(t), "alice", []string{"galaxy:viewers"}
	require.NoError(t, os.Chmod(filepath.Join(c.Dir, "pki", "ca.key"), 0))
	loseRoot(t)
	require.ErrorContains(t, IssueKubeconfig(c, nil, nil), "permission denied: run this as the user that the manager runs as")
}

// loseRoot takes the right to read everything from this goroutine, for the test: its
// thread is another user's where files are concerned.
func loseRoot(t *testing.T) {
	const nobody = 65534
	runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
	before, err := unix.SetfsuidRetUid(nobody)
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = unix.SetfsuidRetUid(before) }) // removes the directory as who made it
}

// What is no file is not replaced, nor what a link points to written.
func TestKubeconfigReplacesOnlyFiles(t *testing.T) {
	c := DefaultKubeconfigConfig()
	c.Dir, c.User, c.Groups = foundAuthority(t), "alice", []string{"galaxy:viewers"}
	dir := t.TempDir()
	directory, link, target := filepath.Join(dir, "directory"), filepath.Join(dir, "link"), filepath.Join(dir, "target")
	require.NoError(t, os.Mkdir(directory, 0o700))
	require.NoError(t, os.Symlink(target, link))
	for _, c.Out = range []string{directory, link} {
		before, err := os.Lstat(c.Out)
		require.NoError(t, err)
		require.ErrorContains(t, IssueKubeconfig(c, nil, nil), "is no regular file")
		after, err := os.Lstat(c.Out)
		require.NoError(t, err)
		require.True(t, os.SameFile(before, after))
	}
	require.NoFileExists(t, target)
}
