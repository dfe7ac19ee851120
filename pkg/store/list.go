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
	keys := spanOf(prefix, opts.Recursive)
	if continueKey != "" {
		keys.from = fromContinueKey(continueKey)
	}
	newItem := newItemFunc(list, items)
	limit := opts.Predicate.Limit
	hasMore := false
	var p page
	var lastKey string
	for more, full := true, false; more && !full; {
		if p, err = s.backend.list(ctx, keys, revision, limit); err != nil {
			return listError(err, keys.from, prefix, revision, p.revision, opts)
		}
		if revision == 0 {
			if err := s.notOlderThan(opts.ResourceVersion, p.revision); err != nil {
				return err
			}
			revision = p.revision
		}
		read := 0
		if read, full, err = s.appendMatches(ctx, p.rows, opts.Predicate, newItem, items); err != nil {
			return err
		}
		if read > 0 {
			lastKey = p.rows[read-1].key
		}
		more = int64(read) < p.total
		hasMore = more
		limit = min(limit*2, largestPage)
		keys.from = after(lastKey)
	}
	if items.IsNil() {
		items.Set(reflect.MakeSlice(items.Type(), 0, 0)) // an empty list is [], not null
	}
	next, remaining, err := storage.PrepareContinueToken(lastKey, prefix, revision, p.total, hasMore, opts)
	if err != nil {
		return err
	}
	return s.versioner.UpdateList(list, uint64(revision), next, remaining)
}

// appendMatches adds what the predicate lets through, until the list is full,
// and says how many rows it read.
func (s *Store) appendMatches(
	ctx context.Context, rows []row, predicate storage.SelectionPredicate, newItem func() runtime.Object, items reflect.Value,
) (read int, full bool, err error) {
	for _, r := range rows {
		data, _, err := s.open(ctx, r)
		if err != nil {
			return read, false, err
		}
		obj := newItem()
		if err := s.decoder.Decode(data, obj, r.revision); err != nil {
			return read, false, err
		}
		read++
		if matches, err := predicate.Matches(obj); err == nil && matches {
			items.Set(reflect.Append(items, reflect.ValueOf(obj).Elem()))
		}
		if predicate.Limit > 0 && int64(items.Len()) >= predicate.Limit {
			return read, true, nil
		}
	}
	return read, false, nil
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
