package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-logr/logr"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/controllers"
	"galaxy.io/runtime-manager/pkg/command"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/lobby"
)

// openLobby returns the client that asks the Lobby; nil where there is none.
func (a *App) openLobby() (*lobby.Client, error) {
	if a.config.LobbyURL == "" {
		return nil, nil
	}
	games, err := lobby.New(a.config.lobby(a.log.WithName("lobby")))
	if err != nil {
		return nil, fmt.Errorf("--lobby-url: %w", err)
	}
	a.lobby.Store(games)
	return games, controllers.Register(games.Collectors())
}

// lobby are the options of the client that asks the Lobby.
func (c Config) lobby(log logr.Logger) lobby.Options {
	return lobby.Options{
		URL: c.LobbyURL, TokenFile: c.LobbyTokenFile, CertFile: c.LobbyCertFile, KeyFile: c.LobbyKeyFile, CAFile: c.LobbyCAFile, Log: log,
	}
}

// checkLobby says which value cannot be.
func (c Config) checkLobby() error {
	if c.LobbyURL == "" {
		if c.LobbyTokenFile+c.LobbyCertFile+c.LobbyKeyFile+c.LobbyCAFile != "" {
			return errors.New("--lobby-url: credentials for the Lobby are given, and not where it is")
		}
		return nil
	}
	games, err := lobby.New(c.lobby(logr.Discard()))
	if err != nil {
		return fmt.Errorf("--lobby-url: %w", err)
	}
	games.Close()
	return nil
}

// imageFrom asks the Lobby for a game's image, and tells its failures as commands'.
func imageFrom(games *lobby.Client) func(context.Context, string) (string, error) {
	return func(ctx context.Context, game string) (string, error) {
		record, err := games.Game(ctx, game)
		if err != nil {
			code := lobby.KindOf(err).Code()
			later := code == v1alpha1.CodeServiceUnavailable || code == v1alpha1.CodeTimeout
			return "", &command.Error{Code: code, Message: err.Error(), Retryable: later}
		}
		return record.Image(), nil
	}
}

// vouch asks the Lobby whether a game is one of its own. Games of other namespaces
// than its own are none of its business.
func (a *App) vouch(games *lobby.Client) func(context.Context, engine.GameID) error {
	if games == nil {
		return nil
	}
	return func(ctx context.Context, game engine.GameID) error {
		if game.Namespace != a.config.GamesNamespace {
			return nil
		}
		_, err := games.Game(ctx, game.Name)
		return err
	}
}
