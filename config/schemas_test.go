package config

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "add new fields to streams/fields.txt")

// What other services read is described by schemas, one a stream.
var schemas = []string{"health_events", "job_results", "notification_intents"}

func schemaFile(name string) string { return filepath.Join("streams", name+".schema.json") }

func readJSON(t *testing.T, file string) any {
	t.Helper()
	content, err := os.Open(file)
	require.NoError(t, err)
	defer content.Close()
	value, err := jsonschema.UnmarshalJSON(content)
	require.NoError(t, err, file)
	return value
}

func compile(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	schema, err := compiler.Compile(schemaFile(name))
	require.NoError(t, err)
	return schema
}

// payloads are files by the schema that they are to obey: the examples, which are
// named after it, and what the code makes of health events.
func payloads(t *testing.T) map[string][]string {
	t.Helper()
	glob := func(pattern string) []string {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files, pattern)
		return files
	}
	all := map[string][]string{}
	for _, name := range schemas {
		all[name] = glob(filepath.Join("streams", "examples", name+".*.json"))
	}
	testdata := filepath.Join("..", "pkg", "health", "testdata")
	all["health_events"] = append(all["health_events"], glob(filepath.Join(testdata, "*.json"))...)
	all["notification_intents"] = append(all["notification_intents"], glob(filepath.Join(testdata, "notifications", "*.json"))...)
	return all
}

func TestPayloadsObeyTheirSchemas(t *testing.T) {
	files := payloads(t)
	for _, name := range schemas {
		schema := compile(t, name)
		known := names(fields(readJSON(t, schemaFile(name))))
		for _, file := range files[name] {
			payload := readJSON(t, file)
			require.NoError(t, schema.Validate(payload), file)
			for _, field := range named(payload) {
				require.Contains(t, known, field, "%s has a field that the schema does not describe", file)
			}
		}
	}
	examples, err := filepath.Glob(filepath.Join("streams", "examples", "*"))
	require.NoError(t, err)
	for _, example := range examples {
		require.True(t, slices.ContainsFunc(schemas, func(name string) bool { return slices.Contains(files[name], example) }), "%s is an example of nothing", example)
	}
}

// named are the names of all fields in a payload.
func named(value any) (names []string) {
	object, _ := value.(map[string]any)
	for name, inner := range object {
		names = append(append(names, name), named(inner)...)
	}
	return names
}

// names are those of promised fields, wherever they stand.
func names(fields []string) (names []string) {
	for _, field := range fields {
		path, _, _ := strings.Cut(field, " ")
		names = append(names, path[strings.LastIndex(path, ".")+1:])
	}
	return names
}

// A schema that takes anything would be none.
func TestWhatTheSchemasRefuse(t *testing.T) {
	for name, spoil := range map[string]func(map[string]any){
		"health_events: no id":                 func(p map[string]any) { delete(p, "event_id") },
		"health_events: an id that is none":    func(p map[string]any) { p["event_id"] = "1" },
		"health_events: a type nobody knows":   func(p map[string]any) { p["type"] = "container_bored" },
		"health_events: a time as text":        func(p map[string]any) { p["occurred_at_ms"] = "now" },
		"health_events: an end without reason": func(p map[string]any) { delete(p["details"].(map[string]any), "reason") },
		"notification_intents: no title":       func(p map[string]any) { p["title"] = "" },
		"notification_intents: no severity":    func(p map[string]any) { p["severity"] = "fatal" },
		"job_results: a failure without code":  func(p map[string]any) { p["outcome"] = "failure" },
		"job_results: a success with an error": func(p map[string]any) { p["error_code"] = "timeout" },
		"job_results: a code nobody knows":     func(p map[string]any) { p["error_code"] = "oops" },
	} {
		t.Run(name, func(t *testing.T) {
			stream, _, _ := strings.Cut(name, ":")
			example := map[string]string{"health_events": "crash", "notification_intents": "crash", "job_results": "started"}[stream]
			payload := readJSON(t, filepath.Join("streams", "examples", stream+"."+example+".json")).(map[string]any)
			schema := compile(t, stream)
			require.NoError(t, schema.Validate(payload))
			spoil(payload)
			require.Error(t, schema.Validate(payload))
		})
	}
}

// fields lists what a schema promises, one line a field: where it stands, its type,
// whether it is always there, and the values that it may have.
func fields(schema any) []string {
	all := map[string]bool{}
	collect("", schema, all)
	var lines []string
	for line := range all {
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

func collect(path string, schema any, all map[string]bool) {
	object, _ := schema.(map[string]any)
	required := fmt.Sprint(object["required"])
	properties, _ := object["properties"].(map[string]any)
	for name, property := range properties {
		described, _ := property.(map[string]any)
		kind, ok := described["type"].(string)
		if !ok {
			continue // it is restricted further, and described elsewhere
		}
		line := strings.TrimPrefix(path+"."+name, ".") + " " + kind
		if strings.Contains(" "+strings.Trim(required, "[]")+" ", " "+name+" ") {
			line += " required"
		}
		all[line] = true
		values, _ := described["enum"].([]any)
		for _, value := range values {
			all[fmt.Sprintf("%s.%s = %s", path, name, value)] = true
		}
	}
	definitions, _ := object["$defs"].(map[string]any)
	for name, definition := range definitions {
		collect(path+"."+name, definition, all)
	}
}

// What services were once promised, they find for ever: a field that goes away,
// changes its type or is no longer always there fails here, and so does a value.
func TestPromisesAreKept(t *testing.T) {
	file := filepath.Join("streams", "fields.txt")
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	promised := strings.Split(strings.TrimSpace(string(content)), "\n")
	var kept []string
	for _, name := range schemas {
		for _, field := range fields(readJSON(t, schemaFile(name))) {
			kept = append(kept, name+": "+strings.TrimPrefix(field, "."))
		}
	}
	if *update {
		all := slices.Compact(slices.Sorted(slices.Values(append(promised, kept...))))
		require.NoError(t, os.WriteFile(file, []byte(strings.TrimSpace(strings.Join(all, "\n"))+"\n"), 0o600))
		return
	}
	for _, promise := range promised {
		require.Contains(t, kept, promise, "other services rely on it")
	}
	for _, field := range kept {
		require.Contains(t, promised, field, "a new field is a promise: go test ./config -update writes it down")
	}
}

// People read the schemas, too.
func TestSchemasDescribeEveryField(t *testing.T) {
	type described map[string]struct{ Description string }
	for _, name := range schemas {
		content, err := os.ReadFile(schemaFile(name))
		require.NoError(t, err)
		var schema struct {
			Title      string
			Properties described
			Defs       map[string]struct{ Properties described } `json:"$defs"`
		}
		require.NoError(t, json.Unmarshal(content, &schema))
		require.NotEmpty(t, schema.Title)
		all := []described{schema.Properties}
		for _, definition := range schema.Defs {
			all = append(all, definition.Properties)
		}
		for _, properties := range all {
			for field, property := range properties {
				require.NotEmpty(t, property.Description, field)
			}
		}
	}
}
