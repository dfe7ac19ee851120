// Package mirror keeps the picture of the engine's containers that decisions
// are made from. It takes an engine.Reader: by its type it cannot change
// anything.
//
// Authority. A list is truth, an event is a hint. An event sets no fact: it
// marks one container dirty, and an inspect tells what became of it. What only
// a list found out is counted (events_missed_total), and comes to the same.
//
// Flow. Run subscribes to the events first and lists second, so that nothing
// falls between; a container that the list shows as new or changed is inspected
// by a bounded number of workers. It lists again every five minutes, with
// jitter, and at every reconnect, when it also inspects everything: what
// happened between two streams may have left no event, and a list does not tell
// two runs of a container apart. Reconnecting asks for the events since the
// last one, less an overlap; a repeated event costs one inspect.
//
// Failure. An inspect that has no answer within a second gives its worker up: a
// container that hangs stays as the list told it (Inspected is false) and goes
// into quarantine, whose few workers ask it again, with full time and a growing
// delay. It is shown as Unresponsive until it answers, and delays nobody else.
// Inspects in flight are capped, those of Refresh too. An engine that does not
// answer leaves the picture as it is, unknown and not dead; Fleet says so until a
// list succeeds, and from when to when it was away.
//
// Signals. A kill event says who ended a container by hand. It is kept beside
// the picture, as evidence: it sets no fact and costs no inspect.
//
// Health. Each verdict of an image's own check has an event, and what was first
// told of one stays: its next checks are no news. A list tells which ones are
// unhealthy; where that is not what is known, an event was missed.
//
// Images. A list of the images comes with each list of the containers, and one
// image that somebody looks up is kept: so it is known what a container's image
// is called in its registry, and which image a reference names by now, at no call
// of its own.
//
// Order. Questions are numbered, and an answer changes nothing that the answer
// to a later question told: neither the facts of a container nor that it is
// gone.
package mirror
