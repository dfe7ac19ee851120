// Package migrations holds the tables, as goose migrations.
package migrations

import "embed"

// FS holds the migrations, one a file, in the order of their numbers.
//
//go:embed *.sql
var FS embed.FS
