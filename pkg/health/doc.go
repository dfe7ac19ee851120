// Package health makes events of what happened to a game, and is the only one
// that can: an Event has no exported field.
//
// The durable truth is the record's status. Of derives from a status that is
// written all the events that it tells of, each with an id that follows from
// what it tells: whoever derives them again, after a crash or in another
// process, gets the same ones. So they can be ensured by their ids, and are
// neither lost nor told twice.
//
// The table rules says for each type of event who observes the fact behind it,
// and where in the status that stands.
package health
