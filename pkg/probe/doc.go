// Package probe tells when a game counts as healthy: the schedule, the
// thresholds, the verdict. A probe never acts; a verdict that changes is what
// the reconciler observes next.
//
// One scheduler serves all games: a heap of due times, one timer, and a bounded
// number of workers, so that ten thousand games cost a goroutine each no more
// than one does. A check that hangs costs its worker until its timeout. First
// checks are spread over their period, so that games that started together are
// not probed together ever after.
//
// A verdict belongs to one instance of a game, its container and its start: a
// late answer of an earlier instance is dropped. A startup or liveness probe
// that failed stays failed, and is not asked again, until there is a new
// instance.
package probe
