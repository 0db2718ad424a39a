// Package rls holds the migrations of row-level security, which an operator chooses: the
// role that reads one tenant's rows, its functions and its policies.
package rls

import "embed"

// Migrations are the files of this folder.
//
//go:embed *.sql
var Migrations embed.FS
