package app

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file that cannot be understood stops the start before anything is started.
func TestBadFilesOfIdentities(t *testing.T) {
	file := func(content string, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(path, []byte(content), mode))
		return path
	}
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"tokens that are none":     {func(c *Config) { c.TokenFile = file("secret\n", 0o600) }, "--token-file: line 1: must be token,user,uid"},
		"tokens for all to read":   {func(c *Config) { c.TokenFile = file("secret,ann,1\n", 0o644) }, "--token-file: "},
		"no tokens":                {func(c *Config) { c.TokenFile = "/nowhere/tokens.csv" }, "--token-file: "},
		"no configuration at all":  {func(c *Config) { c.AuthenticationConfig = "/nowhere/authentication.yaml" }, "--authentication-config: "},
		"an unknown configuration": {func(c *Config) { c.AuthenticationConfig = file("kind: Config\n", 0o644) }, "--authentication-config: "},
	} {
		config := DefaultConfig()
		config.DataDir = t.TempDir()
		c.change(&config)
		_, err := config.complete()
		require.ErrorContains(t, err, c.want, name)
		require.NotContains(t, err.Error(), "\n", name)
		require.NotContains(t, err.Error(), "secret", name)
	}
}
