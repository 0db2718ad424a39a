// Package postgres runs a real PostgreSQL server as a child of this process, for
// `clerksync dev` and for the tests.
//
// What it starts it owns: a free port, a socket and a folder of its own, and an end
// together with its parent. A server that somebody else started is never looked for
// and never touched. It is no way to run PostgreSQL in production: there are no
// backups, no upgrades between major versions, and no listener beyond loopback.
package postgres
