// Package enginetest says how a container engine behaves: a simulator with
// Docker's semantics and with faults, for the tests of what drives an engine,
// and the suite that the simulator and the real engine must both pass, so that
// the simulator stays honest.
//
// What runs in a container is always the test game of testdata/game, whose
// first argument says how it behaves; the simulator plays it.
//
// The simulator has no goroutine of its own, but for one that reads the input of
// a program that has one. Time passes in timers, each of which belongs to one run
// of one container and does nothing once that ended.
// One mutex guards everything; no call holds it while it waits.
package enginetest
