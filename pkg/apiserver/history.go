package apiserver

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/kubernetes"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// Bounds on the entries of one answer.
const (
	defaultHistoryLimit = 500
	maxHistoryLimit     = 10000
)

// HistoryReader returns the newest entries of a game's history, at most limit,
// of those that are not older than since, in the order of their times. A game
// that it never heard of has none.
type HistoryReader func(ctx context.Context, game types.NamespacedName, since time.Time, limit int) ([]v1alpha1.HistoryEntry, error)

var gameRuntimes = v1alpha1.GroupVersion.WithResource("gameruntimes")

// history answers for a game with a record, and for one whose record is gone
// and whose story is still kept.
type history struct {
	read   HistoryReader
	client kubernetes.Interface
	log    logr.Logger
}

func (h history) subresource() subresource {
	return subresource{of: gameRuntimes, name: "history", kind: "GameRuntimeHistory", get: h.get}
}

func (h history) get(req *http.Request, game types.NamespacedName) (runtime.Object, error) {
	since, limit, err := historyBounds(req.URL.Query(), time.Now())
	if err != nil {
		return nil, err
	}
	items, err := h.entries(req.Context(), game, since, limit)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		if err := h.exists(req.Context(), game, since); err != nil {
			return nil, err
		}
		items = []v1alpha1.HistoryEntry{} // a list, if an empty one
	}
	return &v1alpha1.GameRuntimeHistory{Items: items}, nil
}

// entries reads, and keeps to itself why it could not.
func (h history) entries(ctx context.Context, game types.NamespacedName, since time.Time, limit int) ([]v1alpha1.HistoryEntry, error) {
	items, err := h.read(ctx, game, since, limit)
	if err != nil {
		if ctx.Err() == nil {
			h.log.Error(err, "a history could not be read", "game", game.String())
		}
		return nil, apierrors.NewServiceUnavailable("the history cannot be read now; try again soon")
	}
	return items, nil
}

// exists fails unless the game has a record, or a story from before since.
func (h history) exists(ctx context.Context, game types.NamespacedName, since time.Time) error {
	err := findRecord(ctx, h.client, game)
	if !apierrors.IsNotFound(err) || since.IsZero() {
		return err
	}
	older, unread := h.entries(ctx, game, time.Time{}, 1)
	if unread != nil {
		return unread
	}
	if len(older) == 0 {
		return err
	}
	return nil
}

// historyBounds reads the parameters since and limit.
func historyBounds(query url.Values, now time.Time) (since time.Time, limit int, err error) {
	limit = defaultHistoryLimit
	if text := query.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxHistoryLimit {
			return since, 0, badParameter("limit", text, fmt.Sprintf("must be a number from 1 to %d", maxHistoryLimit))
		}
	}
	text := query.Get("since")
	if text == "" {
		return since, limit, nil
	}
	if since, err = time.Parse(time.RFC3339, text); err == nil {
		return since, limit, nil
	}
	seconds, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return since, 0, badParameter("since", text, "must be a time as in 2006-01-02T15:04:05Z, or so many seconds ago")
	}
	return now.Add(-time.Duration(seconds) * time.Second), limit, nil
}

func badParameter(name, value, detail string) error {
	return apierrors.NewBadRequest(field.Invalid(field.NewPath(name), value, detail).Error())
}
