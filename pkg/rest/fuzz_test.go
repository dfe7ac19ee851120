package rest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http/httpguts"
)

// FuzzAPI makes requests of the contract's operations with anything in them:
//
//	go test -fuzz FuzzAPI ./pkg/rest
//
// Whatever is asked, the answer is one of the contract, and none an error of ours.
// Nothing waits long: what is asked for is never done here.
func FuzzAPI(f *testing.F) {
	for i := range operations() {
		n := uint8(i)
		f.Add(n, "chess", "lobby", "", "", "", "application/json", []byte(nil))
		f.Add(n, "chess", "lobby", "k-1", `"7"`, "wait=1ms", "application/json", []byte(`{}`))
		f.Add(n, "chess", "", "", "", "limit=2&continue=x", "", []byte(`{"image":"galaxy/demo-game:1.0.0"}`))
		f.Add(n, "go", "admin", "k-2", `*`, "wait=-1s", "text/plain", []byte(`{"image":"galaxy/demo-game:1.0.1","spec":{"env":[{"name":"A","value":"\u0000"}]}}`))
		f.Add(n, "a/b%", "Lobby!", "k k", `W/"1"`, "wait=99999999h&%zz", "application/json; charset", []byte(`{"spec":{"ports":[{"name":"x","containerPort":1e99}]}}`))
		f.Add(n, "\x00\xff", "-", strings.Repeat("k", 200), `"18446744073709551616"`, "wait=1ms;limit=1", "application/json", []byte(`[[[[{"image":null}`))
	}
	b := newBench(f)
	f.Fuzz(func(t *testing.T, operation uint8, game, caller, id, match, query, kind string, content []byte) {
		all := operations()
		o := all[int(operation)%len(all)]
		target := strings.ReplaceAll(o.path, "{game_id}", url.PathEscape(game))
		if query != "" {
			target += "?" + query
		}
		if _, err := http.NewRequestWithContext(t.Context(), o.method, b.url+target, nil); err != nil || strings.Contains(query, "#") {
			t.Skip("no client would send it")
		}
		options := []option{body(string(content))}
		for name, value := range map[string]string{headerCaller: caller, headerKey: id, "If-Match": match, "Content-Type": kind} {
			if !httpguts.ValidHeaderFieldValue(value) {
				t.Skip("no client would send it")
			}
			if value != "" || name == headerCaller {
				options = append(options, with(name, value))
			}
		}
		if slices.ContainsFunc(strings.Split(query, "&"), longWait) {
			t.Skip("it would be waited for")
		}
		got := b.in(t).do(o.method, target, options...)
		require.NotEqual(t, http.StatusInternalServerError, got.status, "%s", got.body)
	})
}

// longWait is a parameter that takes more than a moment.
func longWait(parameter string) bool {
	query, err := url.ParseQuery(parameter)
	if err != nil {
		return false
	}
	wait, err := readWait(query)
	return err == nil && wait.Milliseconds() > 50
}

// operation is one of the contract.
type operation struct{ method, path string }

// operations are all, in an order that does not change.
func operations() []operation {
	var all []operation
	for path, item := range promise.doc.Paths.Map() {
		for method := range item.Operations() {
			all = append(all, operation{method, path})
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return all
}
