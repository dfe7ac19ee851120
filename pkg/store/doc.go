// Package store keeps Kubernetes objects in PostgreSQL: upstream's
// storage.Interface, with upstream's watch cache on top.
//
// Authority. The table objects is what is; the table changes tells in which
// order it came about. Revisions come from one row, the clock, that a writer
// takes inside its transaction and holds until its commit: they rise in the
// order of the commits, so whoever has read the log up to R has seen every
// change up to R. A sequence cannot give that: a writer that drew a number may
// commit after one that drew a later number.
//
// Watch. One reader a process tails the log and feeds all watchers. NOTIFY only
// wakes it; a lost notification costs a poll interval. Watchers pull from what
// the reader holds in memory, or from the table when they are further behind,
// so a slow one holds nobody up and nothing is buffered for it. A watcher, or
// the reader itself, that fell behind the compaction ends with 410 Gone.
//
// Failure. A connection that breaks ends the call with 503, or 504 where its
// outcome is unknown; the reader goes on where it was once the database is back.
package store
