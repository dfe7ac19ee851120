package command

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// Page is a part of the records, in the order of their names.
type Page struct {
	Records []v1alpha1.GameRuntime
	// Continue asks for the next page; empty on the last.
	Continue string
	// Remaining is how many records follow, as far as it is known.
	Remaining *int64
}

// Get returns a game's record as it is stored. One that is missing is an *Error
// with the code not_found.
func (c *Commander) Get(ctx context.Context, game string) (*v1alpha1.GameRuntime, error) {
	if !isLabel(game) {
		return nil, invalid("game", notALabel)
	}
	_, record, err := c.read(ctx, game)
	if err == nil {
		err = recorded(record)
	}
	if err != nil {
		return nil, classify(err)
	}
	return record, nil
}

// List returns at most so many records from the one on that an earlier page's
// Continue names; all pages show them as they were at the first.
func (c *Commander) List(ctx context.Context, limit int64, from string) (Page, error) {
	stored, err := c.records.List(ctx, metav1.ListOptions{Limit: limit, Continue: from})
	if err != nil {
		return Page{}, classify(err)
	}
	page := Page{Records: make([]v1alpha1.GameRuntime, len(stored.Items)), Continue: stored.GetContinue(), Remaining: stored.GetRemainingItemCount()}
	for i := range stored.Items {
		record, err := typed(&stored.Items[i])
		if err != nil {
			return Page{}, err
		}
		page.Records[i] = *record
	}
	return page, nil
}
