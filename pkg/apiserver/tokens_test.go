package apiserver

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/require"
	"k8s.io/apiserver/pkg/authentication/authenticator"
)

func TestTokenFileIsChecked(t *testing.T) {
	for name, c := range map[string]struct{ content, wrong string }{
		"all there is":      {content: "t1,ann,7,\"galaxy:writers,galaxy:viewers\"\nt2,bob,\nt3,eve,8,galaxy:viewers\n\nt4,joe,9,\n"},
		"nobody":            {},
		"no uid":            {content: "t1,ann,1\nt2,bob\n", wrong: `line 2: must be token,user,uid or token,user,uid,"group,group", has 2 fields`},
		"groups unquoted":   {content: "t1,ann,1,galaxy:writers,galaxy:viewers\n", wrong: `line 1: must be token,user,uid or`},
		"no token":          {content: ",ann,1\n", wrong: "line 1: the token must not be empty"},
		"a token in two":    {content: "my secret,ann,1\n", wrong: "line 1: the token must not be empty, or have spaces in it"},
		"no user":           {content: "t1,,1\n", wrong: "line 1: the user must not be empty"},
		"a token of two":    {content: "t1,ann,1\nt2,eve,1\nt1,bob,2\n", wrong: "line 3: the token stands on a line before, too"},
		"an unclosed quote": {content: "t1,ann,1,\"galaxy:writers\n", wrong: "parse error on line 1"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tokens.csv")
			require.NoError(t, os.WriteFile(path, []byte(c.content), 0o600))
			err := CheckTokenFile(path)
			if c.wrong == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.wrong)
			require.NotContains(t, err.Error(), "secret")
			require.NotContains(t, err.Error(), "\n", "one line")
		})
	}
	require.ErrorContains(t, CheckTokenFile(filepath.Join(t.TempDir(), "none")), "no such file")
}

func TestTokenFileThatOthersMayReadIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.csv")
	require.NoError(t, os.WriteFile(path, []byte("t,ann,1\n"), 0o600))
	for mode, wrong := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o640: true, 0o604: true, 0o620: true} {
		require.NoError(t, os.Chmod(path, mode))
		if err := CheckTokenFile(path); wrong {
			require.ErrorContains(t, err, "chmod 600", "%#o", mode)
		} else {
			require.NoError(t, err, "%#o", mode)
		}
	}
	if os.Geteuid() == 0 {
		const nobody = 65534
		require.NoError(t, os.Chmod(path, 0o444))
		require.NoError(t, os.Chown(path, nobody, nobody))
		require.NoError(t, CheckTokenFile(path), "somebody else's choice")
	}
}

// logged collects lines of a log.
type logged struct {
	mutex sync.Mutex
	lines []string
}

func (l *logged) logger() logr.Logger {
	return funcr.New(func(_, args string) {
		l.mutex.Lock()
		defer l.mutex.Unlock()
		l.lines = append(l.lines, args)
	}, funcr.Options{})
}

// count is how many lines have the text in them.
func (l *logged) count(text string) (n int) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// runSource runs a source of tokens until the test ends.
func runSource(t *testing.T, source tokenSource, log logr.Logger) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		source.run(ctx, log)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// userOf is whose token it is, with groups; empty is nobody's.
func userOf(t *testing.T, source authenticator.Token, token string) string {
	t.Helper()
	response, ok, err := source.AuthenticateToken(t.Context(), token)
	if err != nil || !ok {
		return ""
	}
	return strings.Join(append([]string{response.User.GetName()}, response.User.GetGroups()...), " ")
}

// healthOf is what /readyz tells of a source.
func healthOf(source tokenSource) error {
	return source.dependency().Check(httptest.NewRequest(http.MethodGet, readyz, nil))
}

func TestTokenFileIsReadAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.csv")
	write := func(content string) { require.NoError(t, os.WriteFile(path, []byte(content), 0o600)) }
	becomes := func(source authenticator.Token, token, who string) {
		t.Helper()
		require.Eventually(t, func() bool { return userOf(t, source, token) == who }, patience, time.Millisecond)
	}
	write("t1,ann,1,\"galaxy:writers,galaxy:viewers\"\n")
	tokens, err := openTokenFile(path)
	require.NoError(t, err)
	require.Equal(t, "ann galaxy:writers galaxy:viewers", userOf(t, tokens, "t1"))
	require.Empty(t, userOf(t, tokens, "t2"))
	require.Empty(t, userOf(t, tokens, ""))
	_, kept, err := tokens.known.Load().AuthenticateToken(t.Context(), "t1")
	require.NoError(t, err)
	require.False(t, kept, "what is looked up is no token, but its digest")

	var log logged
	runSource(t, tokens, log.logger())
	write("t2,bob,2\n")
	becomes(tokens, "t2", "bob")
	require.Empty(t, userOf(t, tokens, "t1"), "a token that was taken away")

	write("t2,bob\n")
	require.Eventually(t, func() bool { return log.count("still counts") == 1 }, patience, time.Millisecond)
	require.Equal(t, "bob", userOf(t, tokens, "t2"))
	write("t2,bob\n")
	replacement := path + ".new"
	require.NoError(t, os.WriteFile(replacement, []byte("t3,eve,3\n"), 0o600))
	require.NoError(t, os.Rename(replacement, path))
	becomes(tokens, "t3", "eve")
	require.Empty(t, userOf(t, tokens, "t2"))
	require.Equal(t, 1, log.count("has 2 fields"), "one line for what went wrong once")

	require.NoError(t, os.Remove(path))
	require.Eventually(t, func() bool { return log.count("no such file") == 1 }, patience, time.Millisecond)
	require.Equal(t, "eve", userOf(t, tokens, "t3"), "what the file said before still counts")
	require.ErrorContains(t, healthOf(tokens), "no such file")
	write("t3,eve,3\n")
	require.Eventually(t, func() bool { return healthOf(tokens) == nil }, patience, time.Millisecond, "as before, and well")
}
