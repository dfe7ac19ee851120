// Package streams speaks to the platform's other services over Redis Streams.
//
// What they are to be told stands in the table outbox, written with what it tells
// of. The Relay publishes it, and is the only one that does: each row at least
// once and with the same id, those of one game in the order in which they were
// written.
package streams
