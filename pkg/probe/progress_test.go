package probe

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

func TestMeasuring(t *testing.T) {
	for _, c := range []struct {
		name, answer, path, number, err string
	}{
		{"a number", `{"turn":7}`, "{.turn}", "7", ""},
		{"however it is written", `{"turn":7.0}`, "{.turn}", "7", ""},
		{"with an exponent", `{"turn":70e-1}`, "{.turn}", "7", ""},
		{"in a string", `{"turn":"7"}`, "{.turn}", "7", ""},
		{"in a string, with a fraction", `{"turn":"7.50"}`, "{.turn}", "7.5", ""},
		{"below zero", `{"turn":-7}`, "{.turn}", "-7", ""},
		{"zero below zero", `{"turn":-0.0}`, "{.turn}", "0", ""},
		{"a large one", `{"turn":9007199254740993}`, "{.turn}", "9007199254740993", ""},
		{"a larger one", `{"turn":"340282366920938463463374607431768211457"}`, "{.turn}", "340282366920938463463374607431768211457", ""},
		{"a huge one", `{"turn":1e300}`, "{.turn}", "1e+300", ""},
		{"found deep down", `{"games":[{"id":1},{"id":2,"turn":9}]}`, "{.games[?(@.id==2)].turn}", "9", ""},
		{"of a list", `[3,4]`, "{[1]}", "4", ""},
		{"of a range", `{"games":[{"turn":9}]}`, "{range .games[*]}{.turn}{end}", "9", ""},

		{"missing", `{"turns":7}`, "{.turn}", "", "{.turn}: turn is not found"},
		{"in another case", `{"Turn":7}`, "{.turn}", "", "{.turn}: turn is not found"},
		{"two", `{"turns":[7,8]}`, "{.turns[*]}", "", "{.turns[*]} finds 2 values in the answer, and not one"},
		{"none", `{"turns":[]}`, "{.turns[*]}", "", "{.turns[*]} finds 0 values in the answer, and not one"},
		{"a word", `{"turn":"seven"}`, "{.turn}", "", "{.turn} finds no number"},
		{"no number in words", `{"turn":"NaN"}`, "{.turn}", "", "{.turn} finds no number"},
		{"a truth", `{"turn":true}`, "{.turn}", "", "{.turn} finds no number"},
		{"null", `{"turn":null}`, "{.turn}", "", "{.turn} finds no number"},
		{"an object", `{"turn":{"now":7}}`, "{.turn}", "", "{.turn} finds no number"},
		{"an answer of null", `null`, "{.turn}", "", "{.turn}: turn is not found"},
		{"what JSONPath panics on", `null`, "{[0]}", "", "{[0]}: cannot be followed in the answer"},
		{"no path", `{}`, "{.turn[}", "", "{.turn[}: unterminated array"},
		{"no JSON", `turn 7`, "{.turn}", "", "GET / answered with what is no JSON"},
		{"more than one answer", `{"turn":7}{"turn":8}`, "{.turn}", "", "GET / answered with what is no JSON"},
		{"nothing", ``, "{.turn}", "", "GET / answered with what is no JSON"},
		{"too much", `{"turn":7,"map":"` + strings.Repeat("x", bodyLimit) + `"}`, "{.turn}", "", "GET / answered with more than 10240 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			target, port := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, c.answer) })
			number, err := measure(t.Context(), target, progress("/", port, c.path))
			require.Equal(t, c.number, number)
			if c.err == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, c.err)
		})
	}
}

func progress(path string, port int32, jsonPath string) v1alpha1.ProgressProbe {
	return v1alpha1.ProgressProbe{HTTPGet: v1alpha1.HTTPGetAction{Path: path, Port: port}, JSONPath: jsonPath}
}

func TestNoNumberWithoutAGoodAnswer(t *testing.T) {
	target, port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hangs" {
			<-r.Context().Done()
		}
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, `{"turn":7}`)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := measure(ctx, target, progress("/500", port, "{.turn}"))
	require.EqualError(t, err, "GET /500 answered 500")
	_, err = measure(ctx, target, progress("/hangs", port, "{.turn}"))
	require.EqualError(t, err, "no answer in time")
	_, err = measure(t.Context(), target, progress("/", freePort(t), "{.turn}"))
	require.EqualError(t, err, "dial: connect: connection refused")
}
