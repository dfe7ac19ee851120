package store

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/features"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/etcd3"
	"k8s.io/apiserver/pkg/storage/value"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
)

// maxCorrupt is how many corrupt objects an answer to a list names.
const maxCorrupt = 100

// unsafeDeletion says that upstream lets administrators delete, by the option
// ignoreStoreReadErrorWithClusterBreakingPotential, what cannot be read.
func unsafeDeletion() bool {
	return utilfeature.DefaultFeatureGate.Enabled(features.AllowUnsafeMalformedObjectDeletion)
}

// corruptError is an object that is stored and cannot be read.
type corruptError struct {
	what string
	err  error
}

func (e *corruptError) Error() string { return e.what + ": " + e.err.Error() }
func (e *corruptError) Unwrap() error { return e.err }

// nameCorrupt tells the registry, which asks before an unsafe deletion, that
// the object of a key is corrupt.
func nameCorrupt(key string, err error) error {
	var corrupt *corruptError
	if errors.As(err, &corrupt) {
		return storage.NewCorruptObjError(key, corrupt)
	}
	return err
}

// markingTransformer says of what it cannot open that it is corrupt.
type markingTransformer struct{ value.Transformer }

func (t markingTransformer) TransformFromStorage(ctx context.Context, data []byte, about value.Context) ([]byte, bool, error) {
	opened, stale, err := t.Transformer.TransformFromStorage(ctx, data, about)
	if err != nil {
		err = &corruptError{"it cannot be opened", err}
	}
	return opened, stale, err
}

// markingDecoder says of what it cannot decode that it is corrupt.
type markingDecoder struct{ etcd3.Decoder }

func (d markingDecoder) Decode(data []byte, into runtime.Object, revision int64) error {
	if err := d.Decoder.Decode(data, into, revision); err != nil {
		return &corruptError{"it cannot be decoded", err}
	}
	return nil
}

func (d markingDecoder) DecodeListItem(ctx context.Context, data []byte, revision uint64, newItem func() runtime.Object) (runtime.Object, error) {
	obj, err := d.Decoder.DecodeListItem(ctx, data, revision, newItem)
	if err != nil {
		err = &corruptError{"it cannot be decoded", err}
	}
	return obj, err
}

// unreadable collects the corrupt objects that a list met.
type unreadable struct {
	keys []string
	errs []error
	// end is what ended the list early.
	end error
}

var errTooMany = errors.New("too many errors, the list is truncated")

// add reports whether the list goes on.
func (u *unreadable) add(key string, err error) bool {
	var corrupt *corruptError
	if !unsafeDeletion() || !errors.As(err, &corrupt) {
		u.end = err
		return false
	}
	u.keys, u.errs = append(u.keys, key), append(u.errs, corrupt)
	if len(u.keys) == maxCorrupt {
		u.end = errTooMany
	}
	return u.end == nil
}

// err is the answer to the list: a Status that names each corrupt object.
func (u *unreadable) err(resource schema.GroupResource) error {
	if len(u.keys) == 0 {
		return u.end
	}
	details := &metav1.StatusDetails{Group: resource.Group, Kind: resource.Resource, Name: "list"}
	for i, key := range u.keys {
		details.Causes = append(details.Causes, metav1.StatusCause{
			Type: metav1.CauseTypeUnexpectedServerResponse, Field: key, Message: storage.NewCorruptObjError(key, u.errs[i]).Error(),
		})
	}
	if u.end != nil {
		cause := metav1.StatusCause{Type: metav1.CauseTypeUnexpectedServerResponse, Message: u.end.Error()}
		if errors.Is(u.end, errTooMany) {
			cause.Type = metav1.CauseTypeTooMany
		}
		details.Causes = append(details.Causes, cause)
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Reason: metav1.StatusReasonStoreReadError, Details: details,
		Message: fmt.Sprintf("%d of %s cannot be read from the storage, the first is %s: %v", len(u.keys), resource, u.keys[0], u.errs[0]),
	}}
}

// deletedUnread is what a watcher is told of the deletion of an object that it
// cannot be shown.
func deletedUnread(err error) error {
	var corrupt *corruptError
	if !errors.As(err, &corrupt) {
		return err
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Reason: metav1.StatusReasonStoreReadError,
		Message: fmt.Sprintf("saw a DELETED event, but object data is corrupt - %v", corrupt),
	}}
}
