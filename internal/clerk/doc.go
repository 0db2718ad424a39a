// Package clerk is Clerk's vocabulary: the envelope of a webhook, the synced kinds of
// entities, and the version that orders the events of one entity.
//
// It turns bytes into values and does no I/O. Whether to store, apply or refuse an event
// is up to the packages that use it.
package clerk
