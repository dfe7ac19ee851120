package plan

import (
	"fmt"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// Preview tells a plan to whoever asks what would be done.
func Preview(in Input, p Plan) v1alpha1.GameRuntimePlan {
	told := v1alpha1.GameRuntimePlan{
		Game: GameOf(in.Record).String(), Engine: in.Fleet.Info.Name, InSync: p.InSync(),
		Actions: []v1alpha1.PlannedAction{}, Drift: Status(in, p).Drift,
	}
	for _, a := range p.Actions {
		step := planned(a, in)
		told.StopsGame = told.StopsGame || step.StopsGame && !held(p.Next())
		told.Actions = append(told.Actions, step)
	}
	return told
}

// held says that a plan stands still until a person changes something.
func held(next Action) bool {
	wait, waits := next.(Wait)
	if !waits || !wait.Until.IsZero() {
		return false
	}
	switch wait.Reason {
	case v1alpha1.ReasonPaused, v1alpha1.ReasonObserved, v1alpha1.ReasonStateMissing, v1alpha1.ReasonRolledBack, v1alpha1.ReasonProbeRestartLimit:
		return true
	}
	return false
}

func planned(a Action, in Input) v1alpha1.PlannedAction {
	told := v1alpha1.PlannedAction{Message: a.String()}
	switch a := a.(type) {
	case Wait:
		told.Action, told.Reason, told.Until = v1alpha1.ActionWait, a.Reason, microTime(a.Until)
		told.Message = a.Message
	case PullImage:
		told.Action = v1alpha1.ActionPull
	case StopContainer:
		told.Reason, told.StopsGame = a.Why, true
	case RemoveState:
		told.Destructive = true
	}
	if intent := IntentTo(a, in.View); intent != nil {
		told.Action = intent.Action
	}
	if told.Action == "" {
		panic(fmt.Sprintf("plan: no name for action %T", a))
	}
	return told
}
