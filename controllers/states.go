package controllers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/plan"
)

// states are the games' state directories below one root.
type states struct{ root string }

// ensure makes a game's state directory, owned by the user that the game runs
// as: the record's, or else the image's own.
func (s states) ensure(game engine.GameID, recordUser, imageUser string) error {
	user := recordUser
	if user == "" {
		user = imageUser
	}
	uid, gid, err := owner(user)
	if err != nil {
		return s.wrap("making", game, err)
	}
	dir := plan.StateDir(s.root, game)
	if s.exists(game) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o711); err != nil {
		return s.wrap("making", game, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return s.wrap("making", game, err)
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		return s.wrap("giving away", game, errors.Join(err, os.Remove(dir)))
	}
	return nil
}

// missing is the failure of a game that had a container before, and whose state
// directory is gone: a root that is not mounted looks like that, and an empty
// directory in its place would be a game that lost its state.
func (s states) missing(game engine.GameID) error {
	return fmt.Errorf("%w of %s, which had a container before: put it back; only if its state may be lost, make it by hand, empty and owned by the game's user",
		plan.ErrStateMissing, game)
}

func (s states) exists(game engine.GameID) bool {
	_, err := os.Lstat(plan.StateDir(s.root, game))
	return !errors.Is(err, fs.ErrNotExist)
}

// remove deletes a game's state for good. The record's rule was the plan's to
// check; that the path is one game's directory is checked here once more.
func (s states) remove(game engine.GameID) error {
	dir := plan.StateDir(s.root, game)
	below, err := filepath.Rel(s.root, dir)
	if err != nil || len(strings.Split(below, string(filepath.Separator))) != 2 || strings.HasPrefix(below, "..") {
		return s.wrap("removing", game, errors.New("not a game's directory"))
	}
	if err := os.RemoveAll(dir); err != nil {
		return s.wrap("removing", game, err)
	}
	return nil
}

// wrap marks an error as the state directory's, and keeps the host's paths out of it.
func (s states) wrap(doing string, game engine.GameID, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: %s", err, forbidden[doing])
	}
	return fmt.Errorf("%s %w of %s: %w", doing, plan.ErrState, game, err)
}

// forbidden says what a manager lacks that may not do it.
var forbidden = map[string]string{
	"making":      "the manager's user has to be able to write below --state-root",
	"giving away": "the game runs as another user than the manager, and only root gives directories away",
	"removing":    "the manager's user has to own what is below --state-root, or be root",
}

// owner reads uid[:gid]. A name would have to be looked up inside the image.
func owner(user string) (uid, gid int, err error) {
	if user == "" {
		return os.Getuid(), os.Getgid(), nil
	}
	name, group, _ := strings.Cut(user, ":")
	if uid, err = strconv.Atoi(name); err != nil {
		return 0, 0, fmt.Errorf("the image runs as user %q: set securityContext.runAsUser to its number", name)
	}
	if gid, err = strconv.Atoi(group); err != nil {
		gid = uid
	}
	return uid, gid, nil
}
