// Package app puts the parts of clerksync together: it starts what the roles of a
// process need, in order, and stops it in the reverse order.
package app
