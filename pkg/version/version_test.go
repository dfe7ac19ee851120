package version

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLine(t *testing.T) {
	built := runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + ")"
	require.Equal(t, "v0.0.0-dev ("+built, Line(), "a test is built without a commit")

	t.Cleanup(func() { number, commit, date = "", "", "" })
	number, commit, date = "v1.2.0", "0123456789abcdef0123456789abcdef01234567", "2026-05-04T12:00:00Z"
	require.Equal(t, "v1.2.0", Number())
	require.Equal(t, "v1.2.0 (commit 0123456789ab, 2026-05-04T12:00:00Z, "+built, Line())
}

// The linker passes a name that does not exist over in silence.
func TestMakefileTellsTheLinker(t *testing.T) {
	recipe, err := exec.Command("make", "-C", "../..", "-n", "build", "VERSION=v9.8.7").Output()
	require.NoError(t, err)
	flags := regexp.MustCompile(`-ldflags "([^"]+)"`).FindSubmatch(recipe)
	require.NotNil(t, flags, "%s", recipe)
	program := filepath.Join(t.TempDir(), "tell")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-ldflags", string(flags[1]), "-o", program, "./testdata/tell").CombinedOutput()
	require.NoError(t, err, "%s", out)
	line, err := exec.Command(program).Output()
	require.NoError(t, err)
	require.Contains(t, string(line), "v9.8.7 (")
	if commit, err := exec.Command("git", "rev-parse", "HEAD").Output(); err == nil { // a clone that is ours
		require.Regexp(t, "commit "+string(commit[:12])+`, \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, go`, string(line))
	}
}
