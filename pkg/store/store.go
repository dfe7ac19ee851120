package store

import (
	"context"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/etcd3"
	"k8s.io/apiserver/pkg/storage/value"
	"k8s.io/apiserver/pkg/storage/value/encrypt/identity"
)

// Store is the storage of one resource.
type Store struct {
	backend   *Backend
	resource  schema.GroupResource
	codec     runtime.Codec
	decoder   etcd3.Decoder
	versioner storage.Versioner
	newFunc   func() runtime.Object
	prefix    string
	parts     parts

	mu          sync.RWMutex
	transformer value.Transformer // replaced by upstream's tests while others read
	sealed      bool
}

var _ storage.Interface = (*Store)(nil)

// ResourceOptions describe one resource.
type ResourceOptions struct {
	// Prefix begins the keys of its objects, as in /namespaces.
	Prefix string
	// Resource is what they are called in messages.
	Resource schema.GroupResource
	Codec    runtime.Codec
	// NewFunc makes an empty object.
	NewFunc func() runtime.Object
	// Transformer seals the objects; nil leaves them readable.
	Transformer value.Transformer
}

// Store returns the storage of one resource, without a watch cache.
func (b *Backend) Store(o ResourceOptions) *Store {
	versioner := storage.APIObjectVersioner{}
	s := &Store{
		backend: b, resource: o.Resource, codec: o.Codec, decoder: etcd3.NewDefaultDecoder(o.Codec, versioner), versioner: versioner,
		newFunc: o.NewFunc, prefix: o.Prefix, parts: newParts(), transformer: o.Transformer, sealed: o.Transformer != nil,
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
	err = s.backend.ask(ctx, "counting", prefix, func() error {
		return s.backend.pool.QueryRow(ctx, measure, keys.from, keys.to).Scan(&stats.ObjectCount, &stats.EstimatedAverageObjectSizeBytes)
	})
	return stats, err
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
		if err == nil {
			err = s.decoder.Decode(data, out, found.revision)
		}
		return nameCorrupt(key, err)
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
	revision, err := s.write(ctx, write{key: key, data: data, ttl: ttl})
	if err != nil {
		return err
	}
	if revision == 0 {
		return storage.NewKeyExistsError(key, 0)
	}
	if out == nil {
		return nil
	}
	return s.decoder.Decode(data, out, revision)
}

// write seals the data, if it is to be sealed, and writes it.
func (s *Store) write(ctx context.Context, w write) (revision int64, err error) {
	s.mu.RLock()
	transformer := s.transformer
	s.mu.RUnlock()
	sealed, err := transformer.TransformToStorage(ctx, w.data, value.DefaultContext(w.key))
	if err != nil {
		return 0, storage.NewInternalError(err)
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

// Delete removes an object that the preconditions and the validation let go;
// one that cannot be read, if that is what the caller expects.
func (s *Store) Delete(
	ctx context.Context, key string, out runtime.Object, preconditions *storage.Preconditions,
	validate storage.ValidateObjectFunc, suggestion runtime.Object, opts storage.DeleteOptions,
) error {
	t, err := s.target(key, out)
	if err != nil {
		return err
	}
	t.unreadable = opts.ExpectTransformOrDecodeError && unsafeDeletion()
	if t.unreadable {
		suggestion = nil // it was readable
	}
	st, err := t.first(ctx, suggestion)
	for err == nil {
		refusal := preconditions.Check(t.key, st.obj)
		if refusal == nil {
			refusal = validate(ctx, st.obj)
		}
		if refusal != nil {
			st, err = t.lookAgain(ctx, st, refusal)
			continue
		}
		revision, err := s.backend.write(ctx, write{key: t.key, expected: st.revision})
		if err != nil {
			return err
		}
		if revision != 0 {
			if t.unreadable {
				return nil
			}
			return s.decoder.Decode(st.data, out, revision)
		}
		if st, err = t.load(ctx); err != nil {
			return err
		}
	}
	return err
}

// GuaranteedUpdate lets tryUpdate change the object until nobody interfered.
func (s *Store) GuaranteedUpdate(
	ctx context.Context, key string, destination runtime.Object, ignoreNotFound bool,
	preconditions *storage.Preconditions, tryUpdate storage.UpdateFunc, suggestion runtime.Object,
) error {
	t, err := s.target(key, destination)
	if err != nil {
		return err
	}
	t.ignoreNotFound = ignoreNotFound
	st, err := t.first(ctx, suggestion)
	for err == nil {
		p, refusal, err := s.propose(t.key, st, preconditions, tryUpdate)
		switch {
		case err != nil:
			return err
		case refusal != nil:
			if st, err = t.lookAgain(ctx, st, refusal); err != nil {
				return err
			}
			continue
		case p.changesNothing(st) && st.current:
			return s.decoder.Decode(p.data, destination, st.revision)
		case p.changesNothing(st): // so it may be what is suggested that is old
			if st, err = t.load(ctx); err != nil {
				return err
			}
			if p.changesNothing(st) {
				return s.decoder.Decode(p.data, destination, st.revision)
			}
			continue
		}
		revision, err := s.write(ctx, write{key: t.key, data: p.data, expected: st.revision, ttl: p.ttl})
		if err != nil {
			return err
		}
		if revision != 0 {
			return s.decoder.Decode(p.data, destination, revision)
		}
		if st, err = t.load(ctx); err != nil {
			return err
		}
	}
	return err
}
