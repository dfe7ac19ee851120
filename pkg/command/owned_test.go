package command

import (
	"testing"

	"github.com/stretchr/testify/require"
	kjson "sigs.k8s.io/json"
)

func parse(t *testing.T, text string) (value any) {
	t.Helper()
	require.NoError(t, kjson.UnmarshalCaseSensitivePreserveInts([]byte(text), &value))
	return value
}

func TestSays(t *testing.T) {
	for _, c := range []struct {
		have, want string
		says       bool
	}{
		{`{"a":1,"b":"x"}`, `{"a":1}`, true},
		{`{"a":1}`, `{"a":1,"b":"x"}`, false},
		{`{"a":1}`, `{"a":2}`, false},
		{`{"a":1}`, `{"b":null}`, true},
		{`{"a":{"b":1,"c":2}}`, `{"a":{"c":2}}`, true},
		{`{"a":"b"}`, `{"a":{"b":1}}`, false},
		{`{"a":["x","y"]}`, `{"a":["x","y"]}`, true},
		{`{"a":["x","y"]}`, `{"a":["x"]}`, false},
		{`{"a":["x"]}`, `{"a":["x","y"]}`, false},
		{`{"a":["x","y"]}`, `{"a":["y","x"]}`, false},
		{`{"a":[{"n":1,"p":"TCP"}]}`, `{"a":[{"n":1}]}`, true},
		{`{"a":"x"}`, `{"a":[]}`, false},
		{`{}`, `{"a":[]}`, false},
	} {
		require.Equal(t, c.says, says(parse(t, c.have), parse(t, c.want)), "%s says %s", c.have, c.want)
	}
}

func TestPick(t *testing.T) {
	const value = `{"image":"i","args":["x","y"],"env":[{"name":"A","value":"1"},{"name":"B","value":"2"}],
		"caps":{"add":["KILL","CHOWN"]},"resources":{"cpu":"1","pids":512}}`
	for fields, want := range map[string]string{
		`{"f:image":{}}`:                         `{"image":"i"}`,
		`{".":{},"f:gone":{}}`:                   `{}`,
		`{"f:args":{}}`:                          `{"args":["x","y"]}`,
		`{"f:resources":{"f:pids":{}}}`:          `{"resources":{"pids":512}}`,
		`{"f:resources":{}}`:                     `{"resources":{}}`,
		`{"f:caps":{"f:add":{"v:\"KILL\"":{}}}}`: `{"caps":{"add":["KILL"]}}`,
		`{"f:env":{"k:{\"name\":\"B\"}":{".":{},"f:name":{},"f:value":{}}}}`: `{"env":[{"name":"B","value":"2"}]}`,
		`{"f:env":{"k:{\"name\":\"C\"}":{".":{},"f:name":{}}}}`:              `{"env":[]}`,
		`{"f:env":{"x:odd":{}}}`: `{"env":[]}`,
	} {
		require.Equal(t, parse(t, want), pick(parse(t, value), parse(t, fields).(map[string]any)), fields)
	}
}
