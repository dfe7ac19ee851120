package store

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
)

// largestPage bounds the pages of a list whose filter lets little through.
const largestPage = 10000

// GetList reads the objects below a key, or the one at it, page by page until
// enough match.
func (s *Store) GetList(ctx context.Context, key string, opts storage.ListOptions, list runtime.Object) error {
	prefix, err := storage.PrepareKey(s.prefix, key, opts.Recursive)
	if err != nil {
		return err
	}
	items, err := itemsOf(list)
	if err != nil {
		return err
	}
	revision, continueKey, err := storage.ValidateListOptions(prefix, s.versioner, opts)
	if err != nil {
		return err
	}
	l := lister{store: s, keys: spanOf(prefix, opts.Recursive), revision: revision, opts: opts, newItem: newItemFunc(list, items), items: items}
	if continueKey != "" {
		l.keys.from = fromContinueKey(continueKey)
	}
	if err := l.run(ctx, prefix); err != nil {
		return err
	}
	if items.IsNil() {
		items.Set(reflect.MakeSlice(items.Type(), 0, 0)) // an empty list is [], not null
	}
	next, remaining, err := storage.PrepareContinueToken(l.lastKey, prefix, l.revision, l.total, l.more, opts)
	if err != nil {
		return err
	}
	return s.versioner.UpdateList(list, uint64(l.revision), next, remaining)
}

// lister reads a list page by page.
type lister struct {
	store *Store
	opts  storage.ListOptions
	// keys are those that are still to be read, at a revision; 0 until the first
	// page tells it.
	keys     span
	revision int64

	newItem func() runtime.Object
	items   reflect.Value
	corrupt unreadable

	lastKey string
	// more says that there are objects behind the last key; total counts those
	// from the last page's first key on.
	more  bool
	total int64
}

func (l *lister) run(ctx context.Context, prefix string) error {
	limit := l.opts.Predicate.Limit
	for {
		p, err := l.store.backend.list(ctx, l.keys, l.revision, limit)
		if err != nil {
			return listError(err, l.keys.from, prefix, l.revision, p.revision, l.opts)
		}
		if l.revision == 0 {
			if err := l.store.notOlderThan(l.opts.ResourceVersion, p.revision); err != nil {
				return err
			}
			l.revision = p.revision
		}
		read, full := l.take(ctx, p.rows)
		if l.corrupt.end != nil {
			break
		}
		l.more = p.more || read < len(p.rows)
		if full || !p.more {
			break
		}
		limit = min(limit*2, largestPage)
		l.keys.from = after(l.lastKey)
	}
	if err := l.corrupt.err(l.store.resource); err != nil {
		return err
	}
	if !l.more || !l.opts.Predicate.Empty() {
		return nil
	}
	var err error
	l.total, err = l.store.backend.count(ctx, l.keys, l.revision)
	return err
}

// take adds what the predicate lets through, until the list is full, and says
// how many rows it read.
func (l *lister) take(ctx context.Context, rows []row) (read int, full bool) {
	for i, r := range rows {
		if err := l.add(ctx, r); err != nil && !l.corrupt.add(r.key, err) {
			return read, false
		}
		rows[i].data = nil // a long list takes a while to decode
		read++
		l.lastKey = r.key
		if limit := l.opts.Predicate.Limit; limit > 0 && int64(l.items.Len()) >= limit {
			return read, true
		}
	}
	return read, false
}

func (l *lister) add(ctx context.Context, r row) error {
	data, _, err := l.store.open(ctx, r)
	if err != nil {
		return err
	}
	obj, err := l.store.decoder.DecodeListItem(ctx, data, uint64(r.revision), l.newItem)
	if err != nil {
		return err
	}
	l.store.parts.share(obj)
	if matches, err := l.opts.Predicate.Matches(obj); err == nil && matches {
		l.items.Set(reflect.Append(l.items, reflect.ValueOf(obj).Elem()))
	}
	return nil
}

func spanOf(prefix string, recursive bool) span {
	if recursive {
		return below(prefix)
	}
	return only(prefix)
}

// fromContinueKey translates upstream's "first key behind", which ends in a NUL.
func fromContinueKey(key string) string {
	if before, ok := strings.CutSuffix(key, "\x00"); ok {
		return after(before)
	}
	return key
}

func itemsOf(list runtime.Object) (reflect.Value, error) {
	pointer, err := meta.GetItemsPtr(list)
	if err != nil {
		return reflect.Value{}, fmt.Errorf("listing: %w", err)
	}
	items, err := conversion.EnforcePtr(pointer)
	if err == nil && items.Kind() != reflect.Slice {
		err = fmt.Errorf("need a pointer to a slice, have %T", pointer)
	}
	if err != nil {
		return reflect.Value{}, fmt.Errorf("listing: %w", err)
	}
	return items, nil
}

// newItemFunc makes empty items. An unstructured one must know its version to
// be decoded.
func newItemFunc(list runtime.Object, items reflect.Value) func() runtime.Object {
	if u, ok := list.(*unstructured.UnstructuredList); ok {
		if version := u.GetAPIVersion(); version != "" {
			return func() runtime.Object {
				return &unstructured.Unstructured{Object: map[string]any{"apiVersion": version}}
			}
		}
	}
	element := items.Type().Elem()
	return func() runtime.Object { return reflect.New(element).Interface().(runtime.Object) }
}

// listError says what a client can do about a revision that cannot be had.
func listError(err error, from, prefix string, wanted, now int64, opts storage.ListOptions) error {
	switch {
	case errors.Is(err, errFuture):
		return storage.NewTooLargeResourceVersionError(uint64(wanted), uint64(now), 0)
	case errors.Is(err, errCompacted) && opts.Predicate.Continue != "":
		return continueExpired(from, prefix)
	case errors.Is(err, errCompacted):
		return apierrors.NewResourceExpired("The resourceVersion for the provided list is too old.")
	default:
		return err
	}
}

// continueExpired offers to go on at the newest revision, as upstream does.
func continueExpired(from, prefix string) error {
	token, err := storage.EncodeContinue(from, prefix, -1)
	if err != nil {
		return apierrors.NewResourceExpired("The continue token is too old.")
	}
	expired := apierrors.NewResourceExpired("The provided continue parameter is too old to display a consistent list result. " +
		"The token in this answer goes on with the rest of the list as it is now: objects that were created, modified or deleted since the first part may be missing or differ.")
	expired.ErrStatus.Continue = token
	return expired
}
