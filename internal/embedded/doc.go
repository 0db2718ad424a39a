// Package embedded runs, on this machine, the two servers that clerksync stands on: a real PostgreSQL as a child
// process and a NATS server inside this process. They are for `clerksync dev`, for tests, and (NATS alone) for a
// deployment of one machine.
//
// What it starts it owns: free ports, sockets and folders of its own, an end together with its parent. A server that
// was started by somebody else, on the usual port or elsewhere, is never looked for and never touched. The package
// knows nothing of clerksync's tables and streams, and it is no way to run PostgreSQL in production: it has no
// backups, no upgrades between major versions, and no listener beyond loopback.
package embedded
