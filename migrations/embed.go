// Package migrations holds the tables, as goose migrations.
//
// A migration adds, and takes nothing away that the former version uses: a
// table, a column that may be left out, an index, a function or a new body that
// keeps its old callers. While a new version rolls out, the former one runs on
// the new tables, and where it comes back it goes on doing so: nothing is ever
// migrated down. What no version uses any more is dropped a release later. For
// the same reason a file that was released is never edited, and each new one has
// the next number.
//
// Each file is one transaction, so that one that is interrupted leaves nothing;
// one that cannot be, such as CREATE INDEX CONCURRENTLY, says IF NOT EXISTS.
package migrations

import "embed"

// FS holds the migrations, one a file, in the order of their numbers.
//
//go:embed *.sql
var FS embed.FS
