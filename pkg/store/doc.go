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
// Writes. One writer a process commits together what was asked for while its
// last transaction was under way. Each write names the revision that it expects,
// and one that is mistaken conflicts alone.
//
// Watch. One reader a process tails the log and feeds all watchers. NOTIFY only
// wakes it; a lost notification costs a poll interval. Watchers pull from what
// the reader holds in memory, or from the table when they are further behind,
// so a slow one holds nobody up. The watch cache pushes instead: behind it each
// client has a bounded queue. A watcher, or the reader itself, that fell behind
// the compaction ends with 410 Gone. A canary that is written and watched tells
// whether writes and the watch both go on.
//
// Failure. What certainly did not happen is tried again for some seconds, then
// it is a 503, as is at once what somebody has to mend. What may have happened
// is a 504, and never tried again. The reader goes on where it was once the
// database is back.
package store
