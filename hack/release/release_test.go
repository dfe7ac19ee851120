//go:build release

// Package release checks what `make release` left in dist, for this platform.
package release

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const dist = "../../dist"

func TestSums(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
	require.NoError(t, err)
	var named []string
	for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); {
		sum, name, _ := strings.Cut(lines.Text(), "  ")
		file, err := os.ReadFile(filepath.Join(dist, name))
		require.NoError(t, err)
		real := sha256.Sum256(file)
		require.Equal(t, hex.EncodeToString(real[:]), sum, name)
		named = append(named, name)
	}
	require.NotEmpty(t, named)
	entries, err := os.ReadDir(dist)
	require.NoError(t, err)
	require.Len(t, entries, len(named)+1, "each file but the sums themselves has one")
}

func TestPrograms(t *testing.T) {
	home, version := unpack(t)
	for _, program := range []string{"runtime-manager", "rtctl", "kubectl-galaxy"} {
		out, err := exec.Command(filepath.Join(home, program), "--version").CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), version+" (commit ")
		require.Contains(t, string(out), runtime.GOOS+"/"+runtime.GOARCH)
	}
	for _, file := range []string{"LICENSE", "README.md", "docs/runtime.md", "config/samples/chess.yaml", "config/systemd/runtime-manager.service"} {
		require.FileExists(t, filepath.Join(home, file))
	}
}

// The bill of a program names each module that the program says it is made of.
func TestBillsOfMaterials(t *testing.T) {
	home, version := unpack(t)
	for _, program := range []string{"runtime-manager", "rtctl"} {
		content, err := os.ReadFile(filepath.Join(dist, program+strings.TrimPrefix(filepath.Base(home), "runtime-manager")+".cdx.json"))
		require.NoError(t, err)
		var bill struct {
			BOMFormat string `json:"bomFormat"`
			Metadata  struct {
				Component struct{ Name, Version string }
			}
			Components []struct{ Name, Version, Purl string }
		}
		require.NoError(t, json.Unmarshal(content, &bill))
		require.Equal(t, "CycloneDX", bill.BOMFormat)
		require.Equal(t, version, bill.Metadata.Component.Version)
		listed := map[string]string{}
		for _, component := range bill.Components {
			listed[component.Name] = component.Version
			require.True(t, strings.HasPrefix(component.Purl, "pkg:golang/"), component.Purl)
		}
		info, err := buildinfo.ReadFile(filepath.Join(home, program))
		require.NoError(t, err)
		require.Greater(t, len(info.Deps), 20)
		require.Len(t, listed, len(info.Deps))
		for _, module := range info.Deps {
			require.Equal(t, module.Version, listed[module.Path], module.Path)
		}
	}
}

// unpack returns the directory of this platform's archive, and its version.
func unpack(t *testing.T) (home, version string) {
	t.Helper()
	platform := "_" + runtime.GOOS + "_" + runtime.GOARCH
	archives, err := filepath.Glob(filepath.Join(dist, "*"+platform+".tar.gz"))
	require.NoError(t, err)
	require.Len(t, archives, 1)
	place := t.TempDir()
	out, err := exec.Command("tar", "-C", place, "-xzf", archives[0]).CombinedOutput()
	require.NoError(t, err, "%s", out)
	name := strings.TrimSuffix(filepath.Base(archives[0]), ".tar.gz")
	_, version, _ = strings.Cut(strings.TrimSuffix(name, platform), "_")
	return filepath.Join(place, name), "v" + version
}
