package apiserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/token/tokenfile"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/server/healthz"
)

// CheckTokenFile says what is wrong with a file of bearer tokens.
func CheckTokenFile(path string) error {
	_, err := openTokenFile(path)
	return err
}

// tokenFile knows people by the tokens in a file. In memory it has but their digests:
// what they are looked up by tells a caller nothing by the time that it takes.
type tokenFile struct {
	file  *watchedFile[*tokenfile.TokenAuthenticator]
	known atomic.Pointer[tokenfile.TokenAuthenticator]
}

func openTokenFile(path string) (*tokenFile, error) {
	t := &tokenFile{file: &watchedFile[*tokenfile.TokenAuthenticator]{
		what: "token file", path: path, read: readSecret, parse: parseTokens,
	}}
	known, err := t.file.load()
	if err != nil {
		return nil, err
	}
	t.known.Store(known)
	return t, nil
}

// AuthenticateToken says whose token it is.
func (t *tokenFile) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	return t.known.Load().AuthenticateToken(ctx, digest(token))
}

func (t *tokenFile) run(ctx context.Context, log logr.Logger) {
	t.file.follow(ctx, log, t.known.Store)
}

func (t *tokenFile) dependency() healthz.HealthChecker {
	return Check("token-file", func(context.Context) error { return t.file.check() })
}

func digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return string(sum[:])
}

// readSecret reads a file, unless it is ours and others may read it, too: that is
// never meant. Of a file that somebody else put there we take what we are given.
func readSecret(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	owner, known := info.Sys().(*syscall.Stat_t)
	if known && int(owner.Uid) == os.Geteuid() && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s: others may read it, its mode is %#o: chmod 600 it", path, info.Mode().Perm())
	}
	return os.ReadFile(path)
}

// parseTokens reads Kubernetes' form: token, user, uid and, optionally, groups in
// one quoted field. Where Kubernetes lets a later line win, or skips one, it is strict.
func parseTokens(content []byte) (*tokenfile.TokenAuthenticator, error) {
	lines := csv.NewReader(bytes.NewReader(content))
	lines.FieldsPerRecord = -1
	known := map[string]*user.DefaultInfo{}
	for {
		fields, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return tokenfile.New(known), nil
		}
		if err != nil {
			return nil, err // names the line
		}
		line, _ := lines.FieldPos(0)
		if err := addToken(known, fields); err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
	}
}

func addToken(known map[string]*user.DefaultInfo, fields []string) error {
	const withGroups = 4
	if len(fields) < withGroups-1 || len(fields) > withGroups {
		return fmt.Errorf(`must be token,user,uid or token,user,uid,"group,group", has %d fields`, len(fields))
	}
	token, who := fields[0], &user.DefaultInfo{Name: fields[1], UID: fields[2]}
	if token == "" || strings.ContainsAny(token, " \t") {
		return errors.New("the token must not be empty, or have spaces in it")
	}
	if who.Name == "" {
		return errors.New("the user must not be empty")
	}
	if _, twice := known[digest(token)]; twice {
		return errors.New("the token stands on a line before, too")
	}
	if len(fields) == withGroups && fields[3] != "" {
		for _, group := range strings.Split(fields[3], ",") {
			who.Groups = append(who.Groups, strings.TrimSpace(group))
		}
	}
	known[digest(token)] = who
	return nil
}
