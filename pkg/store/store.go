package store

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/etcd3"
	"k8s.io/apiserver/pkg/storage/value"
	"k8s.io/apiserver/pkg/storage/value/encrypt/identity"
)

// Store is the storage of one resource.
type Store struct {
	backend   *Backend
	codec     runtime.Codec
	decoder   etcd3.Decoder
	versioner storage.Versioner
	newFunc   func() runtime.Object
	prefix    string

	mu          sync.RWMutex
	transformer value.Transformer // replaced by upstream's tests while others read
	sealed      bool
}

var _ storage.Interface = (*Store)(nil)

// StoreOptions describe one resource.
type StoreOptions struct {
	// Prefix begins the keys of its objects, as in /namespaces.
	Prefix string
	Codec  runtime.Codec
	// NewFunc makes an empty object.
	NewFunc func() runtime.Object
	// Transformer seals the objects; nil leaves them readable.
	Transformer value.Transformer
}

// Store returns the storage of one resource, without a watch cache.
func (b *Backend) Store(o StoreOptions) *Store {
	versioner := storage.APIObjectVersioner{}
	s := &Store{
		backend: b, codec: o.Codec, decoder: etcd3.NewDefaultDecoder(o.Codec, versioner), versioner: versioner,
		newFunc: o.NewFunc, prefix: o.Prefix, transformer: o.Transformer, sealed: o.Transformer != nil,
	}
	if o.Transformer == nil {
		s.transformer = identity.NewEncryptCheckTransformer()
	}
	return s
}

// Versioner reads and writes the revision of an object.
func (s *Store) Versioner() storage.Versioner { return s.versioner }

// ReadinessCheck is the backend's, which /readyz asks itself.
func (s *Store) ReadinessCheck() error { return nil }

// EnableResourceSizeEstimation has nothing to do: Stats asks the table.
func (s *Store) EnableResourceSizeEstimation(storage.KeysFunc) error { return nil }

// CompactRevision is the newest one that was compacted.
func (s *Store) CompactRevision() int64 { return s.backend.tail.compactedTo() }

// RequestWatchProgress makes the watches of all resources send a bookmark.
func (s *Store) RequestWatchProgress(context.Context) error {
	s.backend.tail.requestProgress()
	return nil
}

// GetCurrentResourceVersion is at least that of every acknowledged write.
func (s *Store) GetCurrentResourceVersion(ctx context.Context) (uint64, error) {
	now, err := s.backend.revision(ctx)
	return uint64(now), err
}

// Stats counts the objects and their size.
func (s *Store) Stats(ctx context.Context) (storage.Stats, error) {
	prefix, err := storage.PrepareKey(s.prefix, s.prefix, true)
	if err != nil {
		return storage.Stats{}, err
	}
	var stats storage.Stats
	keys := below(prefix)
	err = s.backend.pool.QueryRow(ctx, "SELECT count(*), coalesce(sum(octet_length(data)) / nullif(count(*), 0), 0)::bigint FROM objects WHERE key >= $1 AND key < $2", keys.from, keys.to).
		Scan(&stats.ObjectCount, &stats.EstimatedAverageObjectSizeBytes)
	if err != nil {
		return storage.Stats{}, classify("counting", prefix, err)
	}
	return stats, nil
}

// Get reads one object.
func (s *Store) Get(ctx context.Context, key string, opts storage.GetOptions, out runtime.Object) error {
	key, err := storage.PrepareKey(s.prefix, key, false)
	if err != nil {
		return err
	}
	found, now, err := s.backend.read(ctx, key)
	if err != nil {
		return err
	}
	if err := s.notOlderThan(opts.ResourceVersion, now); err != nil {
		return err
	}
	switch {
	case found != nil:
		data, _, err := s.open(ctx, *found)
		if err != nil {
			return err
		}
		return s.decoder.Decode(data, out, found.revision)
	case opts.IgnoreNotFound:
		return runtime.SetZeroValue(out)
	default:
		return storage.NewKeyNotFoundError(key, 0)
	}
}

// notOlderThan refuses a minimum that is in the future.
func (s *Store) notOlderThan(minimum string, now int64) error {
	if minimum == "" {
		return nil
	}
	least, err := s.versioner.ParseResourceVersion(minimum)
	if err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("invalid resource version: %v", err))
	}
	if least > uint64(now) {
		return storage.NewTooLargeResourceVersionError(least, uint64(now), 0)
	}
	return nil
}

// Create adds an object where there is none.
func (s *Store) Create(ctx context.Context, key string, obj, out runtime.Object, ttl uint64) error {
	key, err := storage.PrepareKey(s.prefix, key, false)
	if err != nil {
		return err
	}
	if version, err := s.versioner.ObjectResourceVersion(obj); err == nil && version != 0 {
		return storage.ErrResourceVersionSetOnCreate
	}
	if err := s.versioner.PrepareObjectForStorage(obj); err != nil {
		return fmt.Errorf("preparing the object of %s: %w", key, err)
	}
	data, err := runtime.Encode(s.codec, obj)
	if err != nil {
		return err
	}
	r, err := s.write(ctx, write{key: key, data: data, ttl: ttl})
	if err != nil {
		return err
	}
	if !r.written {
		return storage.NewKeyExistsError(key, 0)
	}
	if out == nil {
		return nil
	}
	return s.decoder.Decode(data, out, r.revision)
}

// write seals the data, if it is to be sealed, and writes it.
func (s *Store) write(ctx context.Context, w write) (result, error) {
	s.mu.RLock()
	transformer := s.transformer
	s.mu.RUnlock()
	sealed, err := transformer.TransformToStorage(ctx, w.data, value.DefaultContext(w.key))
	if err != nil {
		return result{}, storage.NewInternalError(err)
	}
	w.data, w.sealed = sealed, s.sealed
	return s.backend.write(ctx, w)
}

// open gives back what the codec wrote; stale says that it should be sealed anew.
func (s *Store) open(ctx context.Context, r row) (data []byte, stale bool, err error) {
	s.mu.RLock()
	transformer := s.transformer
	s.mu.RUnlock()
	data, stale, err = transformer.TransformFromStorage(ctx, r.data, value.DefaultContext(r.key))
	if err != nil {
		return nil, false, storage.NewInternalError(fmt.Errorf("unable to transform key %q: %w", r.key, err))
	}
	return data, stale, nil
}

// state is an object as an update or a deletion sees it.
type state struct {
	obj      runtime.Object
	meta     storage.ResponseMeta
	revision int64
	data     []byte
	stale    bool
	// current says that it was read from the database, and not suggested.
	current bool
}

// load reads the state at a key.
func (s *Store) load(ctx context.Context, key string, like reflect.Value, ignoreNotFound bool) (*state, error) {
	found, _, err := s.backend.read(ctx, key)
	if err != nil {
		return nil, err
	}
	if found == nil {
		found = &row{key: key}
	}
	return s.stateOf(ctx, *found, like, ignoreNotFound)
}

// stateOf decodes a row; one of revision 0 is an object that is not there.
func (s *Store) stateOf(ctx context.Context, r row, like reflect.Value, ignoreNotFound bool) (*state, error) {
	st := &state{current: true}
	if u, ok := like.Addr().Interface().(runtime.Unstructured); ok {
		st.obj = u.NewEmptyInstance()
	} else {
		st.obj = reflect.New(like.Type()).Interface().(runtime.Object)
	}
	if r.revision == 0 {
		if !ignoreNotFound {
			return nil, storage.NewKeyNotFoundError(r.key, 0)
		}
		return st, runtime.SetZeroValue(st.obj)
	}
	var err error
	if st.data, st.stale, err = s.open(ctx, r); err != nil {
		return nil, err
	}
	st.revision, st.meta.ResourceVersion = r.revision, uint64(r.revision)
	if err := s.decoder.Decode(st.data, st.obj, r.revision); err != nil {
		return nil, err
	}
	return st, nil
}

// suggested is the state that a caller's cache believes in.
func (s *Store) suggested(obj runtime.Object) (*state, error) {
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

// first is the state to begin with: the suggestion, if there is one.
func (s *Store) first(ctx context.Context, key string, like reflect.Value, ignoreNotFound bool, suggestion runtime.Object) (*state, error) {
	if suggestion != nil {
		return s.suggested(suggestion)
	}
	return s.load(ctx, key, like, ignoreNotFound)
}

// Delete removes an object that the preconditions and the validation let go.
func (s *Store) Delete(
	ctx context.Context, key string, out runtime.Object, preconditions *storage.Preconditions,
	validate storage.ValidateObjectFunc, suggestion runtime.Object, _ storage.DeleteOptions,
) error {
	key, err := storage.PrepareKey(s.prefix, key, false)
	if err != nil {
		return err
	}
	like, err := conversion.EnforcePtr(out)
	if err != nil {
		return fmt.Errorf("deleting %s: %w", key, err)
	}
	st, err := s.first(ctx, key, like, false, suggestion)
	for err == nil {
		refusal := preconditions.Check(key, st.obj)
		if refusal == nil {
			refusal = validate(ctx, st.obj)
		}
		if refusal != nil {
			if st, err = s.lookAgain(ctx, key, like, false, st, refusal); err != nil {
				return err
			}
			continue
		}
		r, err := s.backend.write(ctx, write{key: key, expected: st.revision})
		if err != nil {
			return err
		}
		if r.written {
			return s.decoder.Decode(st.data, out, r.revision)
		}
		if st, err = s.stateOf(ctx, r.current, like, false); err != nil {
			return err
		}
	}
	return err
}

// lookAgain gives a refusal that rests on a suggestion a second chance: it
// stands if the database says the same.
func (s *Store) lookAgain(ctx context.Context, key string, like reflect.Value, ignoreNotFound bool, st *state, refusal error) (*state, error) {
	if st.current {
		return nil, refusal
	}
	now, err := s.load(ctx, key, like, ignoreNotFound)
	if err != nil {
		return nil, err
	}
	if now.revision == st.revision {
		return nil, refusal
	}
	return now, nil
}

// GuaranteedUpdate lets tryUpdate change the object until nobody interfered.
func (s *Store) GuaranteedUpdate(
	ctx context.Context, key string, destination runtime.Object, ignoreNotFound bool,
	preconditions *storage.Preconditions, tryUpdate storage.UpdateFunc, suggestion runtime.Object,
) error {
	key, err := storage.PrepareKey(s.prefix, key, false)
	if err != nil {
		return err
	}
	like, err := conversion.EnforcePtr(destination)
	if err != nil {
		return fmt.Errorf("updating %s: %w", key, err)
	}
	st, err := s.first(ctx, key, like, ignoreNotFound, suggestion)
	if err != nil {
		return err
	}
	for {
		p, refusal, err := s.propose(key, st, preconditions, tryUpdate)
		if err != nil {
			return err
		}
		if refusal != nil {
			if st, err = s.lookAgain(ctx, key, like, ignoreNotFound, st, refusal); err != nil {
				return err
			}
			continue
		}
		if p.changesNothing(st) {
			if st.current {
				return s.decoder.Decode(p.data, destination, st.revision)
			}
			if st, err = s.load(ctx, key, like, ignoreNotFound); err != nil {
				return err
			}
			if p.changesNothing(st) {
				return s.decoder.Decode(p.data, destination, st.revision)
			}
			continue
		}
		r, err := s.write(ctx, write{key: key, data: p.data, expected: st.revision, ttl: p.ttl})
		if err != nil {
			return err
		}
		if r.written {
			return s.decoder.Decode(p.data, destination, r.revision)
		}
		if st, err = s.stateOf(ctx, r.current, like, ignoreNotFound); err != nil {
			return err
		}
	}
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
