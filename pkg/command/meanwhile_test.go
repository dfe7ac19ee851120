package command

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// meanwhile does something between the read and the write of a wish, once.
type meanwhile struct {
	dynamic.ResourceInterface
	once sync.Once
	do   func()
}

func (m *meanwhile) Get(ctx context.Context, name string, o metav1.GetOptions, sub ...string) (*unstructured.Unstructured, error) {
	stored, err := m.ResourceInterface.Get(ctx, name, o, sub...)
	m.once.Do(m.do)
	return stored, err
}

func testTakenOver(t *testing.T, d *desk) {
	d.start(spec(`{"env":[{"name":"A","value":"1"}]}`))
	d.Commander.records = &meanwhile{ResourceInterface: d.records, do: func() { d.byHand(`{"spec":{"env":[{"name":"A","value":"2"}]}}`) }}
	answer, err := d.Stop(t.Context(), of(lobby))
	require.NoError(t, err)
	require.Equal(t, "2", answer.Record.Spec.Env[0].Value, "a stop names no variable")

	d.Commander.records = &meanwhile{ResourceInterface: d.records, do: func() {
		require.NoError(t, d.records.Delete(t.Context(), "chess", metav1.DeleteOptions{}))
	}}
	_, err = d.Stop(t.Context(), of(master))
	require.NoError(t, err, "it was stopped when it was read")
	_, err = d.Patch(t.Context(), Patch{Wish: of(master), Image: newer})
	refusedWith(t, err, v1alpha1.CodeNotFound, "")

	d.start()
	d.Commander.records = &meanwhile{ResourceInterface: d.records, do: func() {
		require.NoError(t, d.records.Delete(t.Context(), "chess", metav1.DeleteOptions{}))
	}}
	_, err = d.Stop(t.Context(), of(master))
	refusedWith(t, err, v1alpha1.CodeNotFound, "")
}

func testChangedMeanwhile(t *testing.T, d *desk) {
	wish := of(master)
	wish.Revision = d.start().Record.ResourceVersion
	d.Commander.records = &meanwhile{ResourceInterface: d.records, do: func() { d.byHand(`{"spec":{"workingDir":"/tmp"}}`) }}
	_, err := d.CleanUp(t.Context(), wish)
	refusedWith(t, err, v1alpha1.CodeConflict, "revision")
	require.Equal(t, "/tmp", d.record().Spec.WorkingDir, "it is there")
}

func testManyAtOnce(t *testing.T, d *desk) {
	d.start()
	const callers, wishes = 8, 4
	var all sync.WaitGroup
	errs := make(chan error, callers*wishes)
	for i := range callers {
		all.Go(func() {
			for range wishes {
				_, err := d.Restart(t.Context(), Restart{Wish: Wish{Game: "chess", Caller: fmt.Sprintf("caller-%d", i)}})
				errs <- err
			}
		})
	}
	all.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	require.EqualValues(t, 1+callers*wishes, d.record().Generation, "each restart is one")
}

// renewed declares a game again as soon as it is deleted.
type renewed struct {
	dynamic.ResourceInterface
	declare func()
}

func (r *renewed) Delete(ctx context.Context, name string, o metav1.DeleteOptions, sub ...string) error {
	defer r.declare()
	return r.ResourceInterface.Delete(ctx, name, o, sub...)
}

func testDeclaredAnew(t *testing.T, d *desk) {
	uid := d.start().Record.UID
	records := d.records
	d.Commander.records = &renewed{ResourceInterface: records, declare: func() {
		d.Commander.records = records
		d.start()
	}}
	answer, err := d.CleanUp(t.Context(), of(master))
	require.NoError(t, err)
	require.Equal(t, uid, answer.Accepted.UID)
	require.Nil(t, answer.Record, "a namesake's is not told")
	_, done := Conclude(d.record(), answer.Accepted)
	require.True(t, done)
}
