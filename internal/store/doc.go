// Package store is the PostgreSQL side: it applies batches of changes to the synced
// tables, all or nothing, and reads the tables.
//
// Which version of an entity wins is decided here, in Apply and in queries/heads.sql,
// and nowhere else. The SQL is in sql/ and queries/; package db is generated from it.
package store
