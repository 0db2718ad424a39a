// Package postgres runs a real PostgreSQL server as a child of this process, for
// `clerksync dev` and for the tests.
//
// A server that it starts has its own free port, socket and folder, and ends with its
// parent. It never searches for or touches other servers. It is not for production: there
// are no backups, no upgrades between major versions, and no listener beyond loopback.
package postgres
