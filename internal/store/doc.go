// Package store is the PostgreSQL side: it applies batches of changes to the
// synced tables, all or nothing, and reads them back.
//
// What decides between two states of one entity is here, in Apply and in
// queries/heads.sql. The SQL itself stands in sql/ and queries/; package db
// below is generated from it.
package store
