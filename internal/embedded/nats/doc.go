// Package nats runs a NATS server with JetStream inside this process: for deployments on
// one machine, dev and the tests.
//
// The server writes a message before it acknowledges it, but leaves the fsync to the
// operating system. [Server.Sync] does the fsync, once for everything acknowledged
// since the last. For that it relies on three facts of the linked nats-server, which
// the tests check and which an upgrade may change: a stream's messages are in
// <folder>/jetstream/$G/streams/<stream>/msgs/<number>.blk, they are appended to the
// block with the highest number, and a new block changes the folder's modification
// time. TestNATSSyncLeavesNothing fails when one of them no longer holds.
//
// [Server.Erase] writes into these files too, and checks their form before it does.
//
// The package does not know clerksync's streams.
package nats
