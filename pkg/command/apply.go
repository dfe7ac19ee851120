package command

import (
	"context"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// remembered is how many wishes a record remembers.
const remembered = 8

// change is what a wish makes of a record.
type change struct {
	// spec holds the fields that it names.
	spec map[string]any
	// whole says that these are all that the caller declares.
	whole bool
}

// change writes a wish into a record. What to write is decided by the record as it
// is stored, and written only if it is so still.
func (c *Commander) change(ctx context.Context, verb Verb, wish Wish, decide func(*v1alpha1.GameRuntime) (change, error)) (Answer, error) {
	if err := wish.Check(); err != nil {
		return Answer{}, err
	}
	var done Answer
	err := c.insist(ctx, func(ctx context.Context) error {
		stored, record, err := c.read(ctx, wish.Game)
		if err != nil {
			return err
		}
		if stored != nil && slices.Contains(wishes(stored), wish.token(verb)) {
			done = answer(verb, wish.Game, record, false) // it stands: nobody heard the answer
			return nil
		}
		if err := wish.meant(record); err != nil {
			return err
		}
		if record != nil && !record.DeletionTimestamp.IsZero() {
			return &Error{Code: v1alpha1.CodeConflict, Message: "the record is being deleted", Retryable: true}
		}
		change, err := decide(record)
		if err != nil {
			return err
		}
		done, err = c.apply(ctx, verb, wish, stored, change)
		return err
	})
	return done, err
}

// read returns a record as it is stored and as its type; nil where there is none.
func (c *Commander) read(ctx context.Context, game string) (*unstructured.Unstructured, *v1alpha1.GameRuntime, error) {
	stored, err := c.records.Get(ctx, game, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	record, err := typed(stored)
	return stored, record, err
}

// typed is for reading: who manages which field is left out of it.
func typed(stored *unstructured.Unstructured) (*v1alpha1.GameRuntime, error) {
	record := &v1alpha1.GameRuntime{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(stored.Object, record); err != nil {
		return nil, &Error{Code: v1alpha1.CodeInternalError, Message: "the record cannot be read", cause: err}
	}
	record.ForgetFields()
	return record, nil
}

// apply makes the one write, unless the record says so already.
//
// What the caller declared before is applied again with what it names now: to
// leave a field out of an apply is to give it up. The record has to be as it was
// read, or somebody who took a field over meanwhile would lose it again.
func (c *Commander) apply(ctx context.Context, verb Verb, wish Wish, stored *unstructured.Unstructured, change change) (Answer, error) {
	config := &unstructured.Unstructured{Object: map[string]any{}}
	config.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("GameRuntime"))
	config.SetName(wish.Game)
	spec, annotations, generation := change.spec, wish.remember(verb, stored), int64(1)
	if stored != nil {
		have, _ := stored.Object["spec"].(map[string]any)
		before := owned(stored, wish.manager())
		spec = carry(before, change)
		if says(have, spec) && says(spec, before) {
			return c.settled(verb, wish, stored, true)
		}
		config.SetUID(stored.GetUID())
		config.SetResourceVersion(stored.GetResourceVersion())
		generation = stored.GetGeneration() + 1
	}
	if traced := traceOf(ctx, generation); traced != "" {
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[v1alpha1.AnnotationTrace] = traced
	}
	if annotations != nil {
		config.SetAnnotations(annotations)
	}
	config.Object["spec"] = spec
	written, err := c.records.Apply(ctx, wish.Game, config, metav1.ApplyOptions{FieldManager: wish.manager(), Force: true})
	if err != nil {
		return Answer{}, err
	}
	return c.settled(verb, wish, written, stored != nil && written.GetGeneration() == stored.GetGeneration())
}

func (c *Commander) settled(verb Verb, wish Wish, stored *unstructured.Unstructured, noOp bool) (Answer, error) {
	record, err := typed(stored)
	if err != nil {
		return Answer{}, err
	}
	return answer(verb, wish.Game, record, noOp), nil
}

// carry adds to what a wish names what its caller declared before: all of it, or
// with a new declaration the image alone, which no record can be without.
func carry(before map[string]any, change change) map[string]any {
	spec := map[string]any{}
	if !change.whole {
		maps.Copy(spec, before)
	} else if image, ok := before["image"]; ok {
		spec["image"] = image
	}
	maps.Copy(spec, change.spec)
	return spec
}

// token stands for a wish among those that a record remembers.
func (w Wish) token(verb Verb) string {
	return w.Caller + "/" + string(verb) + "/" + w.ID
}

// wishes are those that a record remembers, newest first.
func wishes(stored *unstructured.Unstructured) []string {
	return strings.Fields(stored.GetAnnotations()[v1alpha1.AnnotationWish])
}

// remember returns the annotation with the wish among those before it; nil where
// there are none with an id.
func (w Wish) remember(verb Verb, stored *unstructured.Unstructured) map[string]string {
	var all []string
	if w.ID != "" {
		all = append(all, w.token(verb))
	}
	if stored != nil {
		all = append(all, wishes(stored)...)
	}
	if len(all) == 0 {
		return nil
	}
	return map[string]string{v1alpha1.AnnotationWish: strings.Join(all[:min(len(all), remembered)], " ")}
}
