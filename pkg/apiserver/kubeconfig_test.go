package apiserver

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/clientcmd"
)

// A kubeconfig that is issued while the server runs lets its user in, as who it says.
func testKubeconfig(t *testing.T, a *api) {
	content, err := IssueKubeconfig(KubeconfigOptions{
		Dir: filepath.Dir(a.Kubeconfig()), User: "alice", Groups: []string{GroupAdmins, "galaxy:testers"}, Expires: time.Hour,
	}, time.Now())
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "alice")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	told := a.kubectl("", "--kubeconfig", path, "auth", "whoami")
	require.Regexp(t, `Username +alice\n`, told)
	require.Regexp(t, `Groups +\[galaxy:admins galaxy:testers system:authenticated\]`, told)
	require.Contains(t, a.kubectl("", "--kubeconfig", path, "get", "namespaces"), "default")
}

// Who comes with an old kubeconfig is told what is wrong with it.
func testEndedCertificate(t *testing.T, a *api) {
	issued := time.Now().Add(-2 * time.Hour).Truncate(time.Second)
	content, err := IssueKubeconfig(KubeconfigOptions{
		Dir: filepath.Dir(a.Kubeconfig()), User: "alice", Groups: []string{GroupAdmins}, Expires: time.Hour,
	}, issued.Add(2*time.Hour))
	require.NoError(t, err)
	config, err := clientcmd.Load(content)
	require.NoError(t, err)
	pair, err := a.creds.authority.clientUntil("alice", []string{GroupAdmins}, issued, issued.Add(time.Hour))
	require.NoError(t, err)
	config.AuthInfos["alice"].ClientCertificateData, config.AuthInfos["alice"].ClientKeyData = pair.cert, pair.key
	path := filepath.Join(t.TempDir(), "alice")
	require.NoError(t, clientcmd.WriteToFile(*config, path))
	told, code := a.tryKubectl("", "--kubeconfig", path, "get", "namespaces")
	require.Equal(t, 1, code)
	ended := issued.Add(time.Hour).UTC().Format(time.DateTime)
	require.Contains(t, told, "Warning: the client certificate ended at "+ended+" UTC: ask for a new kubeconfig")
}
