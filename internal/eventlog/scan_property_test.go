package eventlog_test

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestScanIsTheFilterOfTheWholeLog compares scans with a plain loop over all events.
func TestScanIsTheFilterOfTheWholeLog(t *testing.T) {
	t.Parallel()
	for name, stored := range map[string][]string{
		"of any types": nil, "of known types": {"user.*", "organization.*", "organizationMembership.*", "session.*"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testScanIsTheFilterOfTheWholeLog(t, testkit.Connect(t, testkit.NATS(t)), stored)
		})
	}
}

// testScanIsTheFilterOfTheWholeLog purges and refills one log.
func testScanIsTheFilterOfTheWholeLog(t *testing.T, nc *nats.Conn, stored []string) {
	l := open(t, nc, eventlog.Options{StoreEvents: stored})
	stream := streamOf(t, nc, eventlog.Stream)
	ctx := t.Context()
	rapid.Check(t, func(t *rapid.T) {
		require.NoError(t, stream.Purge(ctx))
		info, err := stream.Info(ctx)
		require.NoError(t, err)
		before := info.State.LastSeq
		there, times := randomLog(t, ctx, l, stream, before)
		for range 2 {
			f := randomFilter(t, before, times)
			require.NoError(t, f.Validate())
			want := selectByHand(f, there)
			headersOnly := rapid.IntRange(0, 3).Draw(t, "headers only") == 0

			s, err := l.Events(ctx, f, headersOnly)
			require.NoError(t, err)
			total, err := s.Total(ctx)
			require.NoError(t, err)
			got, err := rest(ctx, s)
			s.Close()
			require.NoError(t, err)
			require.Equal(t, seqsOf(want), seqsOf(got), "%+v", f)
			for i := range got {
				w := *want[i]
				if headersOnly {
					require.Empty(t, got[i].Event.Body)
					e := *w.Event
					e.Body = got[i].Event.Body
					w.Event = &e
				}
				require.Equal(t, w.Event, got[i].Event)
				require.True(t, w.StoredAt.Equal(got[i].StoredAt))
			}
			require.GreaterOrEqual(t, total, uint64(len(got)), "%+v", f)
			if f.Exact() && f.Limit == 0 && f.Last == 0 {
				require.Equal(t, uint64(len(got)), total, "%+v", f)
			}
		}
	})
}

// rest reads a scan to its end.
func rest(ctx context.Context, s *eventlog.Scan) ([]*eventlog.Message, error) {
	var all []*eventlog.Message
	for {
		m, err := s.Next(ctx)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, m)
	}
}

// randomLog stores events, erases some and purges some. It returns those that are left,
// read one by one, and the times at which any was stored.
func randomLog(t *rapid.T, ctx context.Context, l *eventlog.Log, stream jetstream.Stream, before uint64) (there []*eventlog.Message, times []time.Time) {
	n := uint64(rapid.IntRange(0, 40).Draw(t, "events"))
	var all []*clerk.Event
	for i := range n {
		all = append(all, randomEvent(t, before+i))
	}
	for group := range slices.Chunk(all, rapid.IntRange(1, 12).Draw(t, "at once")) {
		_, errs := l.CommitGroup(group...)
		for _, err := range errs {
			require.NoError(t, err)
		}
	}
	for i := range n {
		m, err := l.Get(ctx, before+i+1)
		require.NoError(t, err)
		there, times = append(there, m), append(times, m.StoredAt)
	}
	gone := map[uint64]bool{}
	if n > 0 && rapid.Bool().Draw(t, "erase") {
		for _, seq := range rapid.SliceOfN(rapid.Uint64Range(1, n), 1, int(n)).Draw(t, "erased") {
			require.NoError(t, l.Erase(ctx, before+seq))
			gone[before+seq] = true
		}
	}
	switch rapid.IntRange(0, 4).Draw(t, "purge") {
	case 0: // from the beginning
		to := before + rapid.Uint64Range(0, n).Draw(t, "purged up to") + 1
		if to > 1 { // the server takes 1 for everything
			require.NoError(t, stream.Purge(ctx, jetstream.WithPurgeSequence(to)))
		}
		for seq := before + 1; seq < to; seq++ {
			gone[seq] = true
		}
	case 1: // one subject
		require.NoError(t, stream.Purge(ctx, jetstream.WithPurgeSubject("clerk.events.user.>")))
		for _, m := range there {
			if resource, _ := clerk.SplitType(m.Event.Envelope.Type); resource == "user" {
				gone[m.Seq] = true
			}
		}
	}
	there = slices.DeleteFunc(there, func(m *eventlog.Message) bool { return gone[m.Seq] })
	return there, times
}

func randomEvent(t *rapid.T, i uint64) *clerk.Event {
	id := func(prefix string) string {
		return fmt.Sprintf("%s_%d", prefix, rapid.IntRange(1, 3).Draw(t, prefix))
	}
	action := rapid.SampledFrom([]string{"created", "updated", "deleted"}).Draw(t, "action")
	resource := rapid.SampledFrom([]string{"user", "organization", "organizationMembership", "session"}).Draw(t, "resource")
	var data testkit.Object
	switch at := int64(1767225600000); {
	case resource == "user":
		data = testkit.UserData(id("user"), "", "", at, at)
	case resource == "organization":
		data = testkit.OrganizationData(id("org"), "", at, at)
	case resource == "organizationMembership" && action == "deleted" && rapid.Bool().Draw(t, "bare"):
		data = testkit.DeletedData("organization_membership", id("orgmem"))
	case resource == "organizationMembership":
		data = testkit.MembershipData(id("orgmem"), id("user"), id("org"), "org:member", at, at)
	default:
		data = testkit.Object{"object": "session", "id": id("sess"), "user_id": id("user"), "status": "active"}
	}
	e := testkit.Event(fmt.Sprintf("msg_%d", i), resource+"."+action, 1767225600000+int64(i), data)
	e.Origin = rapid.SampledFrom(clerk.Origins).Draw(t, "origin")
	return e
}

func randomFilter(t *rapid.T, before uint64, times []time.Time) eventlog.Filter {
	var f eventlog.Filter
	one := func(of int, what string) bool { return rapid.IntRange(1, of).Draw(t, what+"?") == 1 }
	if one(3, "types") {
		f.Types = rapid.SliceOfN(rapid.SampledFrom([]string{
			"user.*", "*.created", "*.deleted", "organization*.*", "organization.*", "*", "*.*", "session.created", "user.created",
			"organizationMembership.[cd]*", "u*", "s?ssion.*", "email.*",
		}), 1, 3).Draw(t, "types")
	}
	if one(4, "entity") {
		f.Entity = rapid.SampledFrom([]string{"user_1", "user_2", "org_1", "orgmem_1", "orgmem_2", "user_9"}).Draw(t, "entity")
	}
	if one(4, "user") {
		f.User = rapid.SampledFrom([]string{"user_1", "user_2", "user_9"}).Draw(t, "user")
	}
	if one(4, "org") {
		f.Org = rapid.SampledFrom([]string{"org_1", "org_2", "org_9"}).Draw(t, "org")
	}
	if one(4, "origins") {
		f.Origins = rapid.SliceOfN(rapid.SampledFrom(clerk.Origins), 1, 2).Draw(t, "origins")
	}
	if one(3, "from") {
		f.From = before + rapid.Uint64Range(0, 45).Draw(t, "from")
	}
	if one(3, "to") {
		f.To = max(f.From, before+rapid.Uint64Range(1, 50).Draw(t, "to"))
	}
	moment := func(what string) time.Time {
		if len(times) == 0 {
			return time.Now()
		}
		at := rapid.SampledFrom(times).Draw(t, what)
		return at.Add(time.Duration(rapid.SampledFrom([]int{0, 0, -1, 1, -int(time.Hour), int(time.Hour)}).Draw(t, "offset")))
	}
	if one(3, "since") {
		f.Since = moment("since")
	}
	if one(3, "until") {
		f.Until = moment("until")
		if !f.Since.IsZero() && !f.Since.Before(f.Until) {
			f.Until = f.Since.Add(1)
		}
	}
	switch rapid.IntRange(0, 3).Draw(t, "part") {
	case 0:
		f.Limit = rapid.IntRange(1, 10).Draw(t, "limit")
	case 1:
		f.Last = rapid.IntRange(1, 10).Draw(t, "last")
	}
	return f
}

// selectByHand applies a filter to events.
func selectByHand(f eventlog.Filter, there []*eventlog.Message) []*eventlog.Message {
	var all []*eventlog.Message
	for _, m := range there {
		e := m.Event.Envelope
		typed := len(f.Types) == 0 || slices.ContainsFunc(f.Types, func(glob string) bool {
			ok, err := path.Match(glob, e.Type)
			return ok && err == nil
		})
		if typed &&
			(f.From == 0 || m.Seq >= f.From) && (f.To == 0 || m.Seq <= f.To) &&
			(f.Since.IsZero() || !m.StoredAt.Before(f.Since)) && (f.Until.IsZero() || m.StoredAt.Before(f.Until)) &&
			(f.Entity == "" || e.EntityID == f.Entity) && (f.User == "" || e.UserID == f.User) && (f.Org == "" || e.OrgID == f.Org) &&
			(len(f.Origins) == 0 || slices.Contains(f.Origins, m.Event.Origin)) {
			all = append(all, m)
		}
	}
	if f.Limit > 0 && len(all) > f.Limit {
		all = all[:f.Limit]
	}
	if f.Last > 0 && len(all) > f.Last {
		all = all[len(all)-f.Last:]
	}
	return all
}
