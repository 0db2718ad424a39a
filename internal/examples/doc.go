// Package examples tests the applications of deploy/examples: each is started with the
// packages of its lock file, beside the real clerksync, which gets signed webhooks, and is
// asked over HTTP with signed session tokens. The tests need Node.js and npm and have the
// build tag examples. The package has no code.
package examples
