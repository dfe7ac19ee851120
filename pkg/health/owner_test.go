package health

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

const (
	root  = "../.."
	words = "galaxy.io/runtime-manager/api/v1alpha1"
)

// constants reads those of one of v1alpha1's types, by name.
func constants(t *testing.T, of string) map[string]string {
	t.Helper()
	declared := map[string]string{}
	for _, file := range sources(t, filepath.Join(root, "api")) {
		ast.Inspect(file.File, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == of {
				value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				require.NoError(t, err)
				declared[spec.Names[0].Name] = value
			}
			return true
		})
	}
	require.NotEmpty(t, declared)
	return declared
}

type source struct {
	*ast.File
	path string
}

// sources are the files below a directory that are no tests.
func sources(t *testing.T, dir string) []source {
	t.Helper()
	var all []source
	files := token.NewFileSet()
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != dir && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir // what a run leaves behind
		case entry.IsDir(), !strings.HasSuffix(path, ".go"), strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		all = append(all, source{file, path})
		return err
	}))
	return all
}

func TestEachTypeHasOneOwner(t *testing.T) {
	owned := map[v1alpha1.HealthEventType]int{}
	for _, rule := range rules {
		owned[rule.kind]++
		require.Contains(t, []string{reconciler, mirror, prober}, rule.owner, rule.kind)
		require.NotEmpty(t, rule.field, rule.kind)
	}
	declared := constants(t, "HealthEventType")
	for name, kind := range declared {
		require.Equal(t, 1, owned[v1alpha1.HealthEventType(kind)], "rules for %s", name)
	}
	require.Len(t, rules, len(declared), "a rule for each type that is declared, and no other")
}

// That an event is of its rule's type is so by construction. Three rules share a
// fact, and a run's end is one event, whatever its cause.
func TestAnEndIsOneEvent(t *testing.T) {
	for _, reason := range constants(t, "TerminationReason") {
		for _, disappeared := range []bool{false, true} {
			end := ended(v1alpha1.TerminationReason(reason), 137, "")
			end.Disappeared = disappeared
			var told []v1alpha1.HealthEventType
			for _, rule := range rules {
				if len(rule.facts(chess(v1alpha1.GameRuntimeStatus{LastTermination: end}))) > 0 {
					told = append(told, rule.kind)
				}
			}
			if strings.HasPrefix(reason, "StartFailed") {
				require.Empty(t, told, reason)
			} else {
				require.Len(t, told, 1, reason)
			}
		}
	}
}

// Nobody else can fill in an event, and nobody else here does.
func TestEventsAreMadeInOnePlace(t *testing.T) {
	for i := range reflect.TypeFor[Event]().NumField() {
		field := reflect.TypeFor[Event]().Field(i)
		require.False(t, field.IsExported(), "%s could be set elsewhere", field.Name)
	}
	made := 0
	for _, file := range sources(t, ".") {
		ast.Inspect(file.File, func(n ast.Node) bool {
			if literal, ok := n.(*ast.CompositeLit); ok {
				if kind, ok := literal.Type.(*ast.Ident); ok && kind.Name == "Event" {
					made++
				}
			}
			return true
		})
	}
	require.Equal(t, 1, made, "composite literals of Event")
}

// Who named a type elsewhere would be about to tell of a fact beside its owner.
func TestNobodyElseNamesATypeOfEvents(t *testing.T) {
	declared := constants(t, "HealthEventType")
	looked := 0
	for _, file := range sources(t, root) {
		if in, err := filepath.Rel(filepath.Join(root, "pkg", "health"), file.path); err == nil && !strings.HasPrefix(in, "..") {
			continue
		}
		looked++
		name := nameOf(file, words)
		ast.Inspect(file.File, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if from, ok := selector.X.(*ast.Ident); ok && name != "" && from.Name == name {
				_, names := declared[selector.Sel.Name]
				require.False(t, names, "%s refers to %s", file.path, selector.Sel.Name)
			}
			return true
		})
	}
	require.Greater(t, looked, 100, "the whole repository")
}

// nameOf is what a file calls a package that it imports.
func nameOf(file source, path string) string {
	for _, spec := range file.Imports {
		if spec.Path.Value != strconv.Quote(path) {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path[strings.LastIndex(path, "/")+1:]
	}
	return ""
}
