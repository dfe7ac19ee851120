// Package command turns a service's wish into one write to a record, and tells
// what came of it.
//
// Each wish to start, stop, restart or patch a game is a server-side apply by the
// caller's own field manager; one to clean up deletes the record. A wish sets the
// fields that it names, also where somebody else manages them, as the service is
// entitled to ask, and leaves all others as they are. Nothing here touches a
// container: what Commander answers is that the record says so, and Conclude tells
// from the record's status when that is done, or how it first failed.
package command
