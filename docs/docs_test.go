// Package docs_test holds the pages to what they say: their links and paths lead
// somewhere, their diagrams and records can be read, and none repeats another.
package docs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

const root = ".."

// pages returns the text of every page of the repository, by its path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		for _, path := range paths {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			name, err := filepath.Rel(root, path)
			require.NoError(t, err)
			found[name] = string(text)
		}
	}
	require.Contains(t, found, "README.md")
	return found
}

var fence = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")

// blocks returns the fenced blocks in a language, by page and line.
func blocks(pages map[string]string, language string) map[string]string {
	found := map[string]string{}
	for page, text := range pages {
		for _, at := range fence.FindAllStringSubmatchIndex(text, -1) {
			if text[at[2]:at[3]] == language {
				found[fmt.Sprintf("%s:%d", page, 1+strings.Count(text[:at[0]], "\n"))] = text[at[4]:at[5]]
			}
		}
	}
	return found
}

func prose(text string) string { return fence.ReplaceAllString(text, "") }

func TestEveryPageIsListed(t *testing.T) {
	all := pages(t)
	for page := range all {
		if name, ok := strings.CutPrefix(page, "docs/"); ok && name != "README.md" {
			require.Contains(t, all["docs/README.md"], "("+name+")", "docs/README.md does not list it")
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	anchor  = regexp.MustCompile(`<a (?:name|id)="([^"]+)"`)
	symbols = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the names that a link may end with, as code forges make them.
func anchors(text string) []string {
	var names []string
	for _, match := range heading.FindAllStringSubmatch(prose(text), -1) {
		plain := symbols.ReplaceAllString(strings.ToLower(match[1]), "")
		names = append(names, strings.ReplaceAll(plain, " ", "-"))
	}
	for _, match := range anchor.FindAllStringSubmatch(text, -1) {
		names = append(names, match[1])
	}
	return names
}

func TestLinksLeadSomewhere(t *testing.T) {
	all := pages(t)
	for page, text := range all {
		for _, match := range link.FindAllStringSubmatch(prose(text), -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			file, name, _ := strings.Cut(match[1], "#")
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), file)
				_, err := os.Stat(filepath.Join(root, target))
				require.NoError(t, err, "%s links to %s", page, match[1])
			}
			if name != "" {
				require.Contains(t, anchors(all[target]), name, "%s links to %s", page, match[1])
			}
		}
	}
}

var (
	code = regexp.MustCompile("`([^`\n]+)`")
	path = regexp.MustCompile(`^(?:api|cmd|config|controllers|docs|hack|migrations|pkg|\.ci)(?:/[\w.{},*-]+)*/?$`)
)

func TestPathsExist(t *testing.T) {
	for page, text := range pages(t) {
		for _, match := range code.FindAllStringSubmatch(prose(text), -1) {
			if !strings.Contains(match[1], "/") || !path.MatchString(match[1]) {
				continue
			}
			for _, name := range alternatives(match[1]) {
				found, err := filepath.Glob(filepath.Join(root, name))
				require.NoError(t, err)
				require.NotEmpty(t, found, "%s names %s", page, match[1])
			}
		}
	}
}

var braces = regexp.MustCompile(`^(.*)\{([^{}]*)\}(.*)$`)

// alternatives spells a path with braces out, as a shell does.
func alternatives(path string) []string {
	parts := braces.FindStringSubmatch(path)
	if parts == nil {
		return []string{path}
	}
	var all []string
	for _, part := range strings.Split(parts[2], ",") {
		all = append(all, alternatives(parts[1]+part+parts[3])...)
	}
	return all
}

func TestDiagramsParse(t *testing.T) {
	diagrams := blocks(pages(t), "mermaid")
	require.NotEmpty(t, diagrams)
	diagrams["no diagram"] = "flowchart LR\n  a[ --> b"
	input, err := json.Marshal(diagrams)
	require.NoError(t, err)
	check := exec.CommandContext(t.Context(), "node", "check.mjs")
	check.Dir = filepath.Join(root, "hack", "mermaid")
	check.Stdin = bytes.NewReader(input)
	check.Stderr = os.Stderr
	output, err := check.Output()
	require.NoError(t, err, "running Mermaid; make test installs it")
	var wrong map[string]string
	require.NoError(t, json.Unmarshal(output, &wrong), "%s", output)
	require.Contains(t, wrong, "no diagram")
	delete(wrong, "no diagram")
	require.Empty(t, wrong)
}

// A field that a page misspells is an error here, as it is for kubectl.
func TestRecordsAreRecords(t *testing.T) {
	records := 0
	for at, block := range blocks(pages(t), "yaml") {
		for _, document := range strings.Split(block, "\n---\n") {
			var kind struct{ Kind string }
			require.NoError(t, yaml.Unmarshal([]byte(document), &kind), at)
			if kind.Kind == "GameRuntime" {
				require.NoError(t, yaml.UnmarshalStrict([]byte(document), &v1alpha1.GameRuntime{}), at)
				records++
			}
		}
	}
	require.NotZero(t, records)
}

// What stands on two pages is true on one of them, sooner or later.
func TestNoPageRepeatsAnother(t *testing.T) {
	const words = 14
	seen := map[string]string{}
	all := pages(t)
	for _, page := range slices.Sorted(maps.Keys(all)) {
		text := strings.Fields(link.ReplaceAllString(prose(all[page]), "]"))
		for i := 0; i+words <= len(text); i++ {
			run := strings.Join(text[i:i+words], " ")
			if other, ok := seen[run]; ok && other != page && strings.ContainsFunc(run, func(r rune) bool { return 'a' <= r && r <= 'z' }) {
				t.Errorf("%s repeats %s: %s", page, other, run)
				break
			}
			seen[run] = page
		}
	}
}
