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
		planned := planned(a, in)
		told.StopsGame = told.StopsGame || planned.StopsGame
		told.Actions = append(told.Actions, planned)
	}
	return told
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
