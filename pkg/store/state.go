package store

import (
	"bytes"
	"context"
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
)

// target is the key that an update or a deletion is about.
type target struct {
	store *Store
	key   string
	// like is an object of the type that is there.
	like reflect.Value
	// ignoreNotFound makes an empty object of one that is not there.
	ignoreNotFound bool
	// unreadable wants an object that cannot be read, and no other.
	unreadable bool
}

func (s *Store) target(key string, out runtime.Object) (target, error) {
	key, err := storage.PrepareKey(s.prefix, key, false)
	if err != nil {
		return target{}, err
	}
	like, err := conversion.EnforcePtr(out)
	if err != nil {
		return target{}, fmt.Errorf("writing %s: %w", key, err)
	}
	return target{store: s, key: key, like: like}, nil
}

// state is an object as an update or a deletion sees it.
type state struct {
	// obj is nil if it was unreadable.
	obj      runtime.Object
	meta     storage.ResponseMeta
	revision int64
	data     []byte
	stale    bool
	// current says that it was read from the database, and not suggested.
	current bool
}

// first is the state to begin with: the suggestion, if there is one.
func (t target) first(ctx context.Context, suggestion runtime.Object) (*state, error) {
	if suggestion != nil {
		return t.suggested(suggestion)
	}
	return t.load(ctx)
}

// load reads the state.
func (t target) load(ctx context.Context) (*state, error) {
	found, _, err := t.store.backend.read(ctx, t.key)
	if err != nil {
		return nil, err
	}
	st := &state{current: true, obj: t.empty()}
	if found == nil {
		if !t.ignoreNotFound {
			return nil, storage.NewKeyNotFoundError(t.key, 0)
		}
		return st, runtime.SetZeroValue(st.obj)
	}
	st.revision, st.meta.ResourceVersion = found.revision, uint64(found.revision)
	if st.data, st.stale, err = t.store.open(ctx, *found); err == nil {
		err = t.store.decoder.Decode(st.data, st.obj, st.revision)
	}
	switch {
	case t.unreadable && err != nil:
		st.obj = nil
		return st, nil //nolint:nilerr // that it cannot be read is what was wanted
	case t.unreadable:
		return nil, storage.NewInvalidObjError(t.key, "it can be read, so it is not deleted as one that cannot")
	}
	return st, err
}

func (t target) empty() runtime.Object {
	if u, ok := t.like.Addr().Interface().(runtime.Unstructured); ok {
		return u.NewEmptyInstance()
	}
	return reflect.New(t.like.Type()).Interface().(runtime.Object)
}

// suggested is the state that a caller's cache believes in.
func (t target) suggested(obj runtime.Object) (*state, error) {
	s := t.store
	version, err := s.versioner.ObjectResourceVersion(obj)
	if err != nil {
		return nil, fmt.Errorf("reading the revision of a suggestion: %w", err)
	}
	st := &state{obj: obj, revision: int64(version)}
	st.meta.ResourceVersion = version
	// What is encoded has no revision; the object gets its own back.
	if err := s.versioner.PrepareObjectForStorage(obj); err != nil {
		return nil, fmt.Errorf("preparing a suggestion: %w", err)
	}
	if st.data, err = runtime.Encode(s.codec, obj); err != nil {
		return nil, err
	}
	return st, s.versioner.UpdateObject(obj, version)
}

// lookAgain gives a refusal that rests on a suggestion a second chance: it
// stands if the database says the same.
func (t target) lookAgain(ctx context.Context, st *state, refusal error) (*state, error) {
	if st.current {
		return nil, refusal
	}
	now, err := t.load(ctx)
	if err == nil && now.revision == st.revision {
		err = refusal
	}
	return now, err
}

// proposal is what an update would make of a state.
type proposal struct {
	data []byte
	ttl  uint64
}

// changesNothing compares bytes: what was sealed with an old key is written anew.
func (p proposal) changesNothing(st *state) bool { return !st.stale && bytes.Equal(p.data, st.data) }

// propose asks the caller what to make of a state. A refusal is the caller's,
// and may rest on a stale state.
func (s *Store) propose(key string, st *state, preconditions *storage.Preconditions, tryUpdate storage.UpdateFunc) (p proposal, refusal, err error) {
	if refusal := preconditions.Check(key, st.obj); refusal != nil {
		return p, refusal, nil
	}
	updated, ttl, refusal := tryUpdate(st.obj, st.meta)
	if refusal != nil {
		return p, refusal, nil
	}
	if err := s.versioner.PrepareObjectForStorage(updated); err != nil {
		return p, nil, fmt.Errorf("preparing the object of %s: %w", key, err)
	}
	if ttl != nil {
		p.ttl = *ttl
	}
	p.data, err = runtime.Encode(s.codec, updated)
	return p, nil, err
}
