package apiserver

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apiserver/pkg/registry/rest"
)

// table prints a kind with columns of its own, as `kubectl get` asks for them.
type table[T runtime.Object] struct {
	rest.TableConvertor
	columns []metav1.TableColumnDefinition
	cells   func(T) []any
}

func newTable[T runtime.Object](resource schema.GroupResource, columns []metav1.TableColumnDefinition, cells func(T) []any) table[T] {
	return table[T]{TableConvertor: rest.NewDefaultTableConvertor(resource), columns: columns, cells: cells}
}

// ConvertToTable lets upstream lay out the rows, and fills them anew.
func (t table[T]) ConvertToTable(ctx context.Context, object, options runtime.Object) (*metav1.Table, error) {
	result, err := t.TableConvertor.ConvertToTable(ctx, object, options)
	if err != nil {
		return nil, err
	}
	if len(result.ColumnDefinitions) > 0 { // a watch asks for them once
		result.ColumnDefinitions = t.columns
	}
	for i := range result.Rows {
		item, ok := result.Rows[i].Object.Object.(T)
		if !ok {
			return nil, fmt.Errorf("printing a %T", result.Rows[i].Object.Object)
		}
		result.Rows[i].Cells = t.cells(item)
	}
	return result, nil
}

// since prints an age the way kubectl does.
func since(t time.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(time.Since(t))
}
