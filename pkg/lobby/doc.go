// Package lobby asks the Lobby about games over HTTP: which image a game is to
// run, and whether the game still exists.
//
// A question is one GET with a deadline of its own. What may pass is tried again
// within that deadline: failed connections, answers that do not come in time or
// come in half, 5xx, and 429 not before its Retry-After. What the Lobby says
// plainly is not. When it fails several times in a row, a circuit opens: nothing
// is asked for a while, then one attempt finds out whether the Lobby is back, and
// until it is each question fails at once.
//
// The token and the certificates are read from their files for each attempt, so
// that they may be rotated under a running manager.
package lobby
