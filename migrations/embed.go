// Package migrations holds the tables, as goose migrations.
//
// A migration only adds: a table, a column that may be left out, an index, a
// function or a new body that keeps its old callers. While a new version rolls
// out, the former one runs on the new tables, and if it is rolled back it goes
// on doing so: nothing is ever migrated down. What no version uses any more is
// dropped a release after the last one that did. For the same reason a file
// that was released is never edited, and its successor has a higher number.
//
// Each file is one transaction, so that one that is interrupted leaves nothing;
// one that cannot be, such as CREATE INDEX CONCURRENTLY, says IF NOT EXISTS.
package migrations

import "embed"

// FS holds the migrations, one a file, in the order of their numbers.
//
//go:embed *.sql
var FS embed.FS
