// Package probe tells when a game counts as healthy: the schedule, the
// thresholds, the verdict. A probe never acts; a verdict that changes is what
// the reconciler observes next.
//
// Flow. One scheduler serves all games: a heap of due times, one timer, and a
// bounded number of workers, so that ten thousand games cost no more goroutines
// than one does. A game that has just started is checked at once; one that runs
// already, as after a restart of ours, at some time within its first period, so
// that not all are checked together ever after. A startup probe holds the others
// back, out of the schedule, until it succeeded once.
//
// Authority. A verdict belongs to one instance of a game, its container and its
// start: a late answer about an earlier instance is dropped. A startup or
// liveness probe that failed stays failed, and is not asked again, until there
// is a new instance. Verdicts live in memory: after a restart of ours they are
// Unknown, and are found out anew.
//
// Failure. A check that hangs costs its worker until its timeout. When all
// workers are taken checks are late, and none is skipped.
package probe
