// Package probe tells when a game counts as healthy: the schedule, the
// thresholds, the verdict. A probe never acts; a verdict that changes is what
// the reconciler observes next.
//
// Flow. One scheduler serves all games: a heap of due times, one timer, and a
// goroutine for each check under way, of which there is a bounded number, so
// that ten thousand games at rest cost none. What is not known of a game is
// asked at once, and again once a period; after the first verdict some part of
// the period is left out, so that games which started together are not checked
// together ever after. A startup probe holds the others back, out of the
// schedule, until it succeeded.
//
// Authority. A verdict belongs to one instance of a game, its container and its
// start: a check of an earlier instance is broken off, and its answer dropped.
// Within an instance an edited probe starts afresh, and the others do not. A
// probe that fails is asked on: it may recover before anything is done about it.
// Verdicts live in memory; after a restart of ours the recorded ones go on, each
// until its probe says otherwise as often as its thresholds want.
//
// Failure. A check that hangs takes a slot of the quick for a moment, and then
// one of the slow until its timeout; from then on its probe waits for a slot of
// the slow. So those that hang are late, the more the more they are, and the
// others are not. No check is skipped for lack of a slot. Programs have slots of
// their own, and one that outlives its timeout is not begun again until it ended.
// A check that could not be made, as the engine was not there, counts for nothing.
//
// Stops. Nothing is probed while a stop is in hand: before it begins, preStop
// included, the checks under way are broken off. A program that a probe runs
// cannot be, so its end is awaited, for as long as its timeout allows.
package probe
