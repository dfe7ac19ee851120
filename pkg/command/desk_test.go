package command

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/apiserver/apiservertest"
)

const (
	image  = "galaxy/demo-game:1.0.0"
	newer  = "galaxy/demo-game:1.0.1"
	lobby  = "lobby"
	master = "game-master"
)

func TestMain(m *testing.M) { apiservertest.Main(m) }

// desk is where a test's wishes are taken: records of its own, and nobody who
// carries them out.
type desk struct {
	*Commander
	t       *testing.T
	server  *apiservertest.Server
	records dynamic.ResourceInterface
}

func client(t *testing.T, config *rest.Config) dynamic.Interface {
	t.Helper()
	client, err := dynamic.NewForConfig(config)
	require.NoError(t, err)
	return client
}

func newDesk(t *testing.T, server *apiservertest.Server, namespace string) *desk {
	t.Helper()
	c := client(t, server.Config())
	return &desk{Commander: New(c, namespace), t: t, server: server, records: c.Resource(Records).Namespace(namespace)}
}

// start has the game chess run for the lobby.
func (d *desk) start(edit ...func(*Start)) Answer {
	d.t.Helper()
	wish := Start{Wish: of(lobby), Image: image}
	for _, e := range edit {
		e(&wish)
	}
	answer, err := d.Start(d.t.Context(), wish)
	require.NoError(d.t, err)
	require.Equal(d.t, Success, answer.Outcome)
	return answer
}

func of(caller string) Wish { return Wish{Game: "chess", Caller: caller} }

func spec(format string, args ...any) func(*Start) {
	return func(s *Start) { s.Spec = json.RawMessage(fmt.Sprintf(format, args...)) }
}

func (d *desk) record() *v1alpha1.GameRuntime {
	d.t.Helper()
	_, record, err := d.read(d.t.Context(), "chess")
	require.NoError(d.t, err)
	require.NotNil(d.t, record)
	return record
}

// byHand changes the record as kubectl does.
func (d *desk) byHand(patch string) {
	d.t.Helper()
	_, err := d.records.Patch(d.t.Context(), "chess", types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "kubectl"})
	require.NoError(d.t, err)
}

// unchanged says that a wish made no write.
func (d *desk) unchanged(wish func()) {
	d.t.Helper()
	before := d.record().ResourceVersion
	wish()
	require.Equal(d.t, before, d.record().ResourceVersion, "nothing is written")
}

func refusedWith(t *testing.T, err error, code, field string) {
	t.Helper()
	e := errorOf(t, err)
	require.Equal(t, code, e.Code, "%v", err)
	require.Equal(t, field, e.Field, "%v", err)
	require.NotEmpty(t, e.Message)
}

func errorOf(t *testing.T, err error) (e Error) {
	t.Helper()
	var found *Error
	require.ErrorAs(t, err, &found)
	return *found
}

func requireNoOp(t *testing.T, answer Answer, err error) {
	t.Helper()
	require.NoError(t, err)
	require.Equal(t, Success, answer.Outcome)
	require.Equal(t, v1alpha1.CodeReplayNoOp, answer.ErrorCode)
	require.True(t, answer.Accepted.NoOp)
}
