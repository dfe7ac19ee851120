package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
	"pgregory.net/rapid"

	"galaxy.io/runtime-manager/pkg/postgres/postgrestest"
)

var (
	// numbers as a codec may write them: jsonb keeps them as they are.
	numbers = rapid.OneOf(
		rapid.SampledFrom([]string{"0", "-0", "1", "1.0", "1.00", "9007199254740993", "-9223372036854775808", "18446744073709551615", "1e3", "1E-7", "1.7976931348623157e+308", "5e-324", "0.1"}),
		rapid.StringMatching(`-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,2})?`),
	)
	// texts are JSON already. jsonb refuses a NUL, and half a surrogate pair.
	texts    = rapid.OneOf(rapid.Map(rapid.String(), quote), rapid.SampledFrom([]string{`"😀"`, `"\ud83d\ude00"`, `"\\u0000"`, `"\/"`, `""`}))
	unshown  = rapid.SampledFrom([]string{`"a\u0000b"`, `"\ud83d"`, `1e200000`, "\"\xff\""})
	literals = rapid.SampledFrom([]string{"null", "true", "false", "{}", "[]"})
)

func quote(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(quoted)
}

// values are JSON texts, nested to a depth.
func values(depth int) *rapid.Generator[string] {
	if depth == 0 {
		return rapid.OneOf(numbers, texts, literals)
	}
	return rapid.OneOf(numbers, texts, literals, objects(depth), rapid.Custom(func(t *rapid.T) string {
		return "[" + strings.Join(rapid.SliceOfN(values(depth-1), 0, 4).Draw(t, "items"), ",") + "]"
	}))
}

// objects have each key once, in any order.
func objects(depth int) *rapid.Generator[string] {
	names := rapid.SliceOfNDistinct(rapid.String().Filter(func(s string) bool { return !strings.Contains(s, "\x00") }), 0, 5, rapid.ID)
	return rapid.Custom(func(t *rapid.T) string {
		var members []string
		for _, name := range names.Draw(t, "names") {
			members = append(members, quote(name)+" : "+values(depth-1).Draw(t, "value"))
		}
		return "{" + strings.Join(members, ", ") + "}"
	})
}

// exactly reads JSON without a loss: a number is a fraction, an object has no
// order.
func exactly(data []byte) (any, error) {
	var v any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	return rational(v), nil
}

func rational(v any) any {
	switch v := v.(type) {
	case json.Number:
		r, ok := new(big.Rat).SetString(v.String())
		if !ok {
			panic(v)
		}
		return r.String()
	case []any:
		for i := range v {
			v[i] = rational(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = rational(v[name])
		}
	}
	return v
}

// TestPeopleReadWhatIsStored: every text is stored byte for byte, and shown as
// the same JSON, unless jsonb does not take it.
func TestPeopleReadWhatIsStored(t *testing.T) {
	b := openBackend(t, postgrestest.URL(t))
	ctx, count := context.Background(), 0
	rapid.Check(t, func(t *rapid.T) {
		written := map[string]*pending{}
		shown := map[string]bool{}
		for range rapid.IntRange(1, 5).Draw(t, "n") {
			count++
			w := write{key: fmt.Sprint("/things/", count), data: []byte(objects(3).Draw(t, "object"))}
			shown[w.key] = rapid.IntRange(0, 4).Draw(t, "refused") > 0
			if !shown[w.key] {
				w.data = fmt.Appendf(nil, `{"spec":%s,"bad":%s}`, w.data, unshown.Draw(t, "what"))
			}
			p, err := b.writer.add(ctx, w)
			require.NoError(t, err)
			written[w.key] = p
		}
		for key, p := range written {
			_, err := b.writer.wait(ctx, p)
			require.NoError(t, err, "%s", p.data)
			var stored []byte
			var object *string
			require.NoError(t, b.pool.QueryRow(ctx, "SELECT data, object::text FROM objects WHERE key = $1", key).Scan(&stored, &object))
			require.Equal(t, string(p.data), string(stored))
			if object == nil {
				require.True(t, !shown[key] || bytes.Contains(p.data, []byte(`\u0000`)), "people cannot read %s", p.data)
				continue
			}
			want, err := exactly(p.data)
			require.NoError(t, err)
			got, err := exactly([]byte(*object))
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	})
}

func TestGetReturnsWhatTheCodecWrote(t *testing.T) {
	b := openBackend(t, postgrestest.URL(t))
	s := b.Store(ResourceOptions{Prefix: "/things/", Codec: unstructured.UnstructuredJSONScheme, NewFunc: func() runtime.Object { return &unstructured.Unstructured{} }})
	ctx, count := context.Background(), 0
	rapid.Check(t, func(t *rapid.T) {
		count++
		key := fmt.Sprint("/things/", count)
		obj := &unstructured.Unstructured{}
		text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Thing","metadata":{"name":"%d"},"spec":%s,"nul":"\u0000"}`, count, objects(3).Draw(t, "spec"))
		require.NoError(t, runtime.DecodeInto(s.codec, []byte(text), obj))
		encoded, err := runtime.Encode(s.codec, obj)
		require.NoError(t, err)
		want, created, got := &unstructured.Unstructured{}, &unstructured.Unstructured{}, &unstructured.Unstructured{}
		require.NoError(t, runtime.DecodeInto(s.codec, encoded, want))

		require.NoError(t, s.Create(ctx, key, obj, created, 0))
		require.NoError(t, s.Get(ctx, key, storage.GetOptions{}, got))
		require.Equal(t, created, got)
		want.SetResourceVersion(got.GetResourceVersion())
		require.Equal(t, want, got)
		found, _, err := b.read(ctx, key)
		require.NoError(t, err)
		require.Equal(t, string(encoded), string(found.data))
	})
}

// wish is a write of which much can be said before it is done.
type wish struct {
	write
	// impossible cannot be stored at all.
	impossible bool
	pending    *pending
	by         *Backend
}

// TestWritesOfAGroupAreJudgedAlone queues writes of two processes while the
// clock is held, and compares what each is told with the log.
func TestWritesOfAGroupAreJudgedAlone(t *testing.T) {
	url := postgrestest.URL(t)
	backends := []*Backend{openBackend(t, url), openBackend(t, url)}
	other, ctx, count := session(t, url), context.Background(), 0
	rapid.Check(t, func(t *rapid.T) {
		count++
		there := map[string]int64{}
		for i := range 4 {
			key := fmt.Sprintf("/things/%d-%d", count, i)
			there[key] = 0
			if rapid.Bool().Draw(t, "there") {
				revision, err := backends[0].write(ctx, write{key: key, data: []byte(`{}`)})
				require.NoError(t, err)
				there[key] = revision
			}
		}
		start, err := backends[0].revision(ctx)
		require.NoError(t, err)
		wishes := rapid.SliceOfN(wishesFor(count, there, backends), 1, 20).Draw(t, "wishes")
		_, err = other.Exec(ctx, "BEGIN; "+takeClock)
		require.NoError(t, err)
		for i := range wishes {
			w := &wishes[i]
			w.pending, err = w.by.writer.add(ctx, w.write)
			require.NoError(t, err)
		}
		_, err = other.Exec(ctx, "COMMIT")
		require.NoError(t, err)
		for _, w := range wishes {
			_, err := w.by.writer.wait(ctx, w.pending)
			require.Equal(t, w.impossible, err != nil, "%v", err)
		}
		requireJudged(t, backends[0], start, there, wishes)
	})
}

// wishesFor are writes of some keys, which expect what is there, or not.
func wishesFor(count int, there map[string]int64, by []*Backend) *rapid.Generator[wish] {
	return rapid.Custom(func(t *rapid.T) wish {
		w := wish{by: rapid.SampledFrom(by).Draw(t, "by")}
		w.key = fmt.Sprintf("/things/%d-%d", count, rapid.IntRange(0, len(there)-1).Draw(t, "key"))
		w.expected = rapid.SampledFrom([]int64{there[w.key], there[w.key], 0, 1}).Draw(t, "expected")
		content := rapid.OneOf(rapid.Just("1"), rapid.Just("1"), unshown).Draw(t, "content")
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			w.impossible, w.data = true, []byte(`{}`)
			w.key += "\xff"
		case 1, 2, 3: // a deletion, which expects something
			w.expected = max(w.expected, 1)
		default:
			w.data = fmt.Appendf(nil, `{"unique":%d,"content":%s}`, rapid.Uint64().Draw(t, "unique"), content)
		}
		return w
	})
}

// requireJudged wants a line of the log for each write that was granted, and
// for each that was not, another one that came first.
func requireJudged(t require.TestingT, b *Backend, start int64, there map[string]int64, wishes []wish) {
	var lines []change
	rows, err := b.pool.Query(context.Background(), readChanges, start, batch)
	require.NoError(t, err)
	require.NoError(t, collect(&lines)(rows))
	replaced, logged := map[string]int64{}, map[int64]change{}
	for i, line := range lines {
		require.Equal(t, start+1+int64(i), line.revision)
		logged[line.revision] = line
		if _, again := replaced[line.key]; !again {
			replaced[line.key] = line.previousRevision
		}
	}
	granted := 0
	for _, w := range wishes {
		switch {
		case w.impossible:
		case w.pending.revision > 0:
			granted++
			line := logged[w.pending.revision]
			require.Equal(t, w.key, line.key)
			require.Equal(t, w.expected, line.previousRevision)
			require.Equal(t, w.data, line.data)
		case w.expected == there[w.key]:
			first, won := replaced[w.key]
			require.True(t, won, "nobody was granted %s", w.key)
			require.Equal(t, w.expected, first, "one of the rivals won")
		}
	}
	require.Len(t, lines, granted, "each change is somebody's")
	for key := range there {
		want := there[key]
		for _, line := range lines {
			if line.key != key {
				continue
			}
			require.Equal(t, want, line.previousRevision)
			if want = line.revision; line.data == nil {
				want = 0
			}
		}
		found, _, err := b.read(context.Background(), key)
		require.NoError(t, err)
		require.Equal(t, want == 0, found == nil)
	}
}
