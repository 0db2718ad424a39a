// Package clerk is Clerk's vocabulary: the envelope of a webhook, the entities
// that are synced, and the version that orders two states of one entity.
//
// It turns bytes into values and does no I/O. What to store, what to apply and
// what to answer is decided by the packages that use it.
package clerk
