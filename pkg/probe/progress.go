package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strconv"

	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/util/jsonpath"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// measure asks a game for the number that a progress probe watches. It is in
// canonical text: two answers are equal if their numbers are.
func measure(ctx context.Context, target Target, spec v1alpha1.ProgressProbe) (string, error) {
	var body bytes.Buffer
	if err := ask(ctx, target.Address, spec.HTTPGet, &body); err != nil {
		return "", err
	}
	var answer any
	if err := json.Unmarshal(body.Bytes(), &answer); err != nil {
		if body.Len() == bodyLimit {
			return "", fmt.Errorf("GET %s answered with more than %d bytes", spec.HTTPGet.Path, bodyLimit)
		}
		return "", fmt.Errorf("GET %s answered with what is no JSON", spec.HTTPGet.Path)
	}
	found, err := find(answer, spec.JSONPath)
	if err != nil {
		return "", fmt.Errorf("%s: %s", spec.JSONPath, shorten(err.Error()))
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%s finds %d values in the answer, and not one", spec.JSONPath, len(found))
	}
	number, ok := canonical(found[0])
	if !ok {
		return "", fmt.Errorf("%s finds no number", spec.JSONPath)
	}
	return number, nil
}

// find returns what a path leads to. A path keeps its place while it is followed,
// so that it is read anew each time, which costs less than a connection by far.
// Some paths panic on some answers, and neither is ours.
func find(answer any, path string) (found []any, err error) {
	defer func() {
		if recover() != nil {
			found, err = nil, errors.New("cannot be followed in the answer")
		}
	}()
	follow := jsonpath.New("")
	if err := follow.Parse(path); err != nil {
		return nil, err
	}
	results, err := follow.FindResults(answer)
	if err != nil {
		return nil, err
	}
	for _, values := range results {
		for _, value := range values {
			found = append(found, plainValue(value))
		}
	}
	return found, nil
}

// plainValue is nil for a null.
func plainValue(value reflect.Value) any {
	if !value.IsValid() {
		return nil
	}
	return value.Interface()
}

// canonical writes a number in one way, however the game did: as 7, as 7.0, or
// in a string because it is large.
func canonical(value any) (string, bool) {
	switch v := value.(type) {
	case int64:
		return strconv.FormatInt(v, 10), true
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return strconv.FormatInt(int64(v), 10), true
		}
		return strconv.FormatFloat(v, 'g', -1, 64), !math.IsInf(v, 0) && !math.IsNaN(v)
	case string:
		if n, ok := new(big.Int).SetString(v, 10); ok {
			return n.String(), true
		}
		if n, err := strconv.ParseFloat(v, 64); err == nil {
			return canonical(n)
		}
	}
	return "", false
}
