package docker

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/pkg/engine"
)

// What a stream of output may end with that no test game makes an engine say.
func TestOutputThatEndsInTrouble(t *testing.T) {
	for name, c := range map[string]struct{ wire, text, failure string }{
		"well":                   {"\x01\x00\x00\x00\x00\x00\x00\x03one\x02\x00\x00\x00\x00\x00\x00\x03two", "onetwo", ""},
		"an empty piece":         {"\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x03two", "two", ""},
		"cut off in a piece":     {"\x01\x00\x00\x00\x00\x00\x00\x05one", "one", "unexpected EOF"},
		"cut off in a head":      {"\x01\x00\x00\x00\x00\x00\x00\x03one\x01\x00", "one", "unexpected EOF"},
		"the engine's own error": {"\x01\x00\x00\x00\x00\x00\x00\x03one\x03\x00\x00\x00\x00\x00\x00\x0clog is \nlost", "one", "log is lost"},
	} {
		t.Run(name, func(t *testing.T) {
			client := answer(t, func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, c.wire)
			})
			output, err := client.Output(t.Context(), "chess", engine.OutputOptions{Stdout: true, Stderr: true, Tail: -1})
			require.NoError(t, err)
			defer output.Close()
			text, err := io.ReadAll(output)
			require.Equal(t, c.text, string(text))
			if c.failure == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, c.failure)
		})
	}
}
