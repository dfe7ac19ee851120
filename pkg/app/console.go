package app

import (
	"galaxy.io/runtime-manager/pkg/apiserver"
	"galaxy.io/runtime-manager/pkg/engine"
)

// console is how the API reaches into games; nil on an engine that nobody can
// reach into. A standby has a picture, too.
func (a *App) console() *apiserver.Console {
	reached, ok := a.engine.(engine.Console)
	if !ok {
		return nil
	}
	return &apiserver.Console{Engine: reached, View: func(game engine.GameID) engine.View {
		if loop := a.loop.Load(); loop != nil {
			return loop.Mirror.View(game)
		}
		return engine.View{}
	}}
}
