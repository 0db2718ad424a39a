// Package sql holds the migrations of the database, in goose's form. The tables
// are described there and nowhere else: sqlc reads them from the same files.
package sql

import "embed"

// Migrations are the files of this folder.
//
//go:embed *.sql
var Migrations embed.FS
