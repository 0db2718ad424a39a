// Package source reads users, organizations and memberships from Clerk's Backend API, and
// stores them in the event log as snapshots: all of them in a [Backfill], one in a
// [Puller]. It writes no rows: the worker applies snapshots as it applies webhooks.
package source
