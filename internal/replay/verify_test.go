package replay_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/replay"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// work starts a worker. It is stopped by what is returned, or with the test.
func (w *world) work() (stop func()) {
	p := projector.New(projector.Options{Log: w.Log, Apply: w.Store.Apply, Appliers: appliers, Batch: batch})
	p.Start()
	stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		defer cancel()
		w.Check(p.Stop(ctx))
	})
	w.t.Cleanup(stop)
	return stop
}

// settle waits until the worker has applied all that is stored.
func (w *world) settle() {
	w.T.Helper()
	testkit.Eventually(w.t, "everything is applied", func() (bool, any) {
		state, err := w.Log.State(context.Background())
		return err == nil && state.AppliedThrough == state.Last, state
	})
}

// worked is a world in which a worker has applied these events.
func worked(t *testing.T, events ...*clerk.Event) *world {
	t.Helper()
	w := newWorld(t)
	w.Append(events...)
	w.work()
	w.settle()
	return w
}

func (w *world) verify() *replay.Report {
	w.T.Helper()
	v := replay.Verifier{Log: w.Log, Store: w.Store, Appliers: appliers, Batch: batch}
	report, err := v.Run(context.Background())
	w.Check(err)
	w.requireNoScratch()
	return report
}

func (w *world) requireNoScratch() {
	w.T.Helper()
	var n int
	w.Check(w.Store.Pool().QueryRow(context.Background(), "SELECT count(*) FROM pg_namespace WHERE nspname LIKE '%verify%'").Scan(&n))
	require.Zero(w.t, n, "scratch schemas are left")
}

func (w *world) exec(statement string) {
	w.T.Helper()
	_, err := w.Store.Pool().Exec(context.Background(), statement)
	w.Check(err)
}

// finding is what is found, in short.
type finding struct {
	Table, ID, OnlyIn string
	Reason            replay.Reason
	Columns           string
}

func found(r *replay.Report) []finding {
	var all []finding
	for _, f := range r.Findings {
		var columns []string
		for _, c := range f.Columns {
			columns = append(columns, c.Name)
		}
		all = append(all, finding{f.Table, f.ClerkID, f.OnlyIn, f.Reason, fmt.Sprint(columns)})
	}
	return all
}

// requireReasons checks the reasons of all findings.
func requireReasons(t *testing.T, r *replay.Report, want ...replay.Reason) {
	t.Helper()
	var got []replay.Reason
	total := 0
	for reason, n := range r.ByReason {
		got = append(got, reason)
		total += n
	}
	require.ElementsMatch(t, want, got, found(r))
	require.Equal(t, r.Differences, total)
	require.Len(t, r.Findings, total)
	for _, f := range r.Findings {
		require.NotEmpty(t, f.Why)
		require.Positive(t, r.ByReason[f.Reason])
	}
}

func org(i int, at int64) *clerk.Event {
	id := fmt.Sprint("org_", i)
	return testkit.Event(fmt.Sprintf("msg_%s_%d", id, at), "organization.updated", testkit.Base+at, testkit.OrganizationData(id, "name", testkit.Base, testkit.Base+at))
}

func userAt(i int, at int64, email string) *clerk.Event {
	id := fmt.Sprint("user_", i)
	return testkit.Event(fmt.Sprintf("msg_%s_%d", id, at), "user.updated", testkit.Base+at, testkit.UserData(id, email, "name", testkit.Base, testkit.Base+at))
}

func userDeleted(i int, at int64) *clerk.Event {
	id := fmt.Sprint("user_", i)
	return testkit.Event(fmt.Sprintf("msg_%s_%d", id, at), "user.deleted", testkit.Base+at, testkit.DeletedData("user", id))
}

func joined(u, o int, at int64) *clerk.Event {
	id := fmt.Sprintf("orgmem_%d%d", u, o)
	return testkit.Event(fmt.Sprintf("msg_%s_%d", id, at), "organizationMembership.created", testkit.Base+at,
		testkit.MembershipData(id, fmt.Sprint("user_", u), fmt.Sprint("org_", o), "org:member", testkit.Base+at, testkit.Base+at))
}

// TestVerifyFindsNothing in tables that a worker has made, in whatever order. Every
// verification makes and drops a schema, so it is one for some histories each.
func TestVerifyFindsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := testkit.ManyHistories(24)
	for round := range uint64(6) {
		history := all[int(round)*len(all)/6 : int(round+1)*len(all)/6]
		random := rand.New(rand.NewPCG(round, 0))
		testkit.Truncate(t, w.Store)
		stream, err := w.js().Stream(t.Context(), eventlog.Stream)
		require.NoError(t, err)
		require.NoError(t, stream.Purge(t.Context()))
		seqs := map[*clerk.Event]uint64{}
		for _, i := range random.Perm(len(history)) {
			seqs[history[i]] = w.Append(history[i])
		}
		for _, i := range random.Perm(len(history)) {
			_, err := w.Store.Apply(t.Context(), []store.Entry{{Change: testkit.Change(history[i]), Seq: seqs[history[i]]}})
			require.NoError(t, err)
		}
		report, err := (&replay.Verifier{Log: w.Log, Store: w.Store, Appliers: appliers, Batch: batch}).Run(t.Context())
		require.NoError(t, err)
		require.Empty(t, found(report))
		require.Zero(t, report.Differences)
		require.Zero(t, report.Unexplained())
		require.EqualValues(t, len(history), report.Events.Total())
		require.EqualValues(t, len(history), report.To-report.From+1)
	}
	w.requireNoScratch()
}

func (w *world) js() jetstream.JetStream {
	w.T.Helper()
	js, err := jetstream.New(w.NC)
	w.Check(err)
	return js
}

// TestVerifyOfAnEmptyLog.
func TestVerifyOfAnEmptyLog(t *testing.T) {
	t.Parallel()
	report := newWorld(t).verify()
	require.Zero(t, report.Differences)
	require.Zero(t, report.Events.Total())
}

// TestVerifyNamesWhatWasChangedByHand: exactly the columns, with what stands there.
func TestVerifyNamesWhatWasChangedByHand(t *testing.T) {
	t.Parallel()
	w := worked(t, user(1), user(2), user(3), org(1, 1), joined(1, 1, 2), joined(2, 1, 2), joined(3, 1, 2))
	requireReasons(t, w.verify())
	w.exec("UPDATE users SET first_name = 'Eve', banned = true WHERE clerk_id = 'user_1'")
	w.exec("UPDATE users SET email = NULL WHERE clerk_id = 'user_2'")
	w.exec("UPDATE organizations SET slug = 'other'")
	w.exec("UPDATE org_memberships SET role = 'org:admin', permissions = '{}' WHERE clerk_id = 'orgmem_11'")
	w.exec("DELETE FROM org_memberships WHERE clerk_id = 'orgmem_31'")
	report := w.verify()
	require.Equal(t, []finding{
		{"users", "user_1", "", replay.Changed, "[first_name banned]"},
		{"users", "user_2", "", replay.Changed, "[email]"},
		{"organizations", "org_1", "", replay.Changed, "[slug]"},
		{"org_memberships", "orgmem_11", "", replay.Changed, "[role permissions]"},
		{"org_memberships", "orgmem_31", "log", replay.Changed, "[]"},
	}, found(report))
	require.Equal(t, 5, report.Unexplained())
	require.JSONEq(t, `"Eve"`, string(report.Findings[0].Columns[0].InTables))
	require.JSONEq(t, `"name"`, string(report.Findings[0].Columns[0].InLog))
	require.Contains(t, report.Findings[0].Why, "clerksync replay --reapply")

	// The fix that the text names works.
	r := replay.NewEvents(w.scan(eventlog.Filter{}), w.Log, replay.Options{Apply: w.Store.Reapply, Appliers: appliers, Batch: batch})
	require.NoError(t, r.Run(t.Context()))
	requireReasons(t, w.verify())
}

// TestHandMadeChangeIsNotExcused by a difference that has nothing to do with it.
func TestHandMadeChangeIsNotExcused(t *testing.T) {
	t.Parallel()
	w := worked(t, user(1), user(2), user(3), org(1, 1), joined(1, 1, 2), joined(2, 1, 2), userDeleted(3, 9))
	w.restore("user_3")
	w.exec("DELETE FROM org_memberships WHERE clerk_id = 'orgmem_11'")
	w.exec("UPDATE users SET email = NULL WHERE clerk_id = 'user_2'")
	report := w.verify()
	requireReasons(t, report, replay.Changed)
	require.Equal(t, 2, report.Unexplained())
}

// TestVerifyOfRestoredEntities: what a restore gives is no difference, and neither is what
// follows from it: memberships, and who holds an address.
func TestVerifyOfRestoredEntities(t *testing.T) {
	t.Parallel()
	w := worked(t, userAt(1, 1, "a@example.com"), userAt(2, 2, "a@example.com"), joined(3, 1, 2), userAt(3, 3, "c@example.com"), org(1, 1),
		joined(1, 1, 2), joined(2, 1, 2), userDeleted(2, 9), userDeleted(3, 9))
	w.restore("user_2")
	w.restore("user_3") // the log begins with a membership of it
	requireReasons(t, w.verify())

	// A row that was changed by hand is not excused.
	w.exec("UPDATE users SET first_name = 'Eve' WHERE clerk_id = 'user_2'")
	w.exec("UPDATE org_memberships SET role = 'org:admin' WHERE clerk_id = 'orgmem_21'")
	w.exec("UPDATE users SET email = NULL WHERE clerk_id = 'user_2'")
	report := w.verify()
	require.Equal(t, []finding{
		{"users", "user_2", "", replay.Changed, "[email first_name]"},
		{"org_memberships", "orgmem_21", "", replay.Changed, "[role]"},
	}, found(report))
	require.Equal(t, 2, report.Unexplained())

	// What happens after the restore counts, also another delete.
	w.Append(userAt(2, 20, "b@example.com"), userDeleted(1, 21))
	w.settle()
	later := time.Now().Add(time.Hour).UnixMilli() - testkit.Base
	w.Append(userDeleted(2, later))
	w.settle()
	requireReasons(t, w.verify())
}

// TestVerifyWhileSomebodyRestores: the restore changes rows during the comparison.
func TestVerifyWhileSomebodyRestores(t *testing.T) {
	t.Parallel()
	w := worked(t, user(1), userDeleted(1, 9))
	restored := false
	v := replay.Verifier{Log: w.Log, Store: w.Store, Appliers: appliers, Batch: batch, Comparing: func() {
		if !restored {
			restored = true
			w.restore("user_1")
		}
	}}
	report, err := v.Run(t.Context())
	require.NoError(t, err)
	requireReasons(t, report, replay.Moved)
	require.Zero(t, report.Unexplained())
}

// TestVerifyAfterTheLogWasLost: heads of the former log are not taken for rows that just
// moved, also where the new log has an event with the sequence of one.
func TestVerifyAfterTheLogWasLost(t *testing.T) {
	t.Parallel()
	w := worked(t, users(0, 8)...)
	old := w.Store
	fresh := newWorld(t)
	w.Log, w.NC, w.Store = fresh.Log, fresh.NC, old
	w.Append(userAt(0, 99, "new@example.com"), user(1), user(9))
	w.work()
	w.settle()
	report := w.verify()
	requireReasons(t, report, replay.OtherLog)
	byUser := map[string]string{}
	for _, f := range report.Findings {
		byUser[f.ClerkID] = f.Why
	}
	require.Equal(t, map[string]string{
		"user_2": "the event that made it (msg_2, sequence 3) is of another log: this one has another event there",
		"user_3": "the event that made it (sequence 4) is of another log: this one ends with 3",
		"user_4": "the event that made it (sequence 5) is of another log: this one ends with 3",
		"user_5": "the event that made it (sequence 6) is of another log: this one ends with 3",
		"user_6": "the event that made it (sequence 7) is of another log: this one ends with 3",
		"user_7": "the event that made it (sequence 8) is of another log: this one ends with 3",
	}, byUser)
	require.Equal(t, report.Differences, report.Unexplained())
}

// TestErasedIsWhatTheLogDoesNotKnow: a person whose events came back is not "erased".
func TestErasedIsWhatTheLogDoesNotKnow(t *testing.T) {
	t.Parallel()
	w := worked(t, user(1), userDeleted(1, 9), user(2))
	w.erase("user_1")
	requireReasons(t, w.verify(), replay.Erased)
	w.exec("CREATE TABLE kept AS SELECT * FROM entity_heads WHERE clerk_id = 'user_1'")
	w.Append(userAt(1, 5, "old@example.com"))
	w.settle()
	w.exec("UPDATE entity_heads h SET erased_at = k.erased_at FROM kept k WHERE h.clerk_id = k.clerk_id")
	requireReasons(t, w.verify(), replay.Cut)
}

// TestVerifyKnowsWhoWasErased, with what their events had made.
func TestVerifyKnowsWhoWasErased(t *testing.T) {
	t.Parallel()
	w := worked(t, user(1), user(2), org(1, 1), joined(1, 1, 2), joined(1, 2, 2), joined(2, 1, 2))
	w.erase("user_1")
	report := w.verify()
	requireReasons(t, report, replay.Erased, replay.Cut)
	require.Zero(t, report.Unexplained())
	for _, f := range report.Findings {
		require.NotEqual(t, "user_2", f.ClerkID)
		require.Equal(t, f.ClerkID == "user_1", f.Reason == replay.Erased)
	}
}

// TestVerifyKnowsWhatTheLogDoesNotReachBackTo.
func TestVerifyKnowsWhatTheLogDoesNotReachBackTo(t *testing.T) {
	t.Parallel()
	w := worked(t, user(1), user(2), org(1, 1), joined(1, 1, 2), userAt(2, 9, "new@example.com"))
	stream, err := w.js().Stream(t.Context(), eventlog.Stream)
	require.NoError(t, err)
	require.NoError(t, stream.Purge(t.Context(), jetstream.WithPurgeSequence(4)))
	report := w.verify()
	require.EqualValues(t, 4, report.From)
	requireReasons(t, report, replay.Cut)
	require.Zero(t, report.Unexplained())
	var ids []string
	for _, f := range report.Findings {
		ids = append(ids, f.ClerkID)
	}
	require.NotContains(t, ids, "user_2")
	require.Contains(t, ids, "user_1")
	require.Contains(t, ids, "org_1")
}

// TestVerifyKnowsWhatIsNotAppliedYet: with no worker at work it is said, and waited
// for in vain.
func TestVerifyKnowsWhatIsNotAppliedYet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Append(user(1), user(2))
	stop := w.work()
	w.settle()
	stop()
	w.Append(userAt(1, 9, "new@example.com"), user(3), joined(2, 1, 9))
	report := w.verify()
	requireReasons(t, report, replay.Pending)
	require.Equal(t, []string{"user_1", "user_3"}, []string{report.Findings[0].ClerkID, report.Findings[1].ClerkID})
	require.Equal(t, "event 3 is stored and not applied yet", report.Findings[0].Why)
	require.Zero(t, report.Unexplained())
	w.work()
	requireReasons(t, w.verify())
}

// TestVerifyKnowsWhatIsParked: PostgreSQL refused it then, and would not now.
func TestVerifyKnowsWhatIsParked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec("ALTER TABLE users ADD CONSTRAINT no_2 CHECK (clerk_id <> 'user_2')")
	w.Append(user(1), user(2), user(3))
	w.work()
	w.settle()
	w.exec("ALTER TABLE users DROP CONSTRAINT no_2")
	require.Len(t, w.Letters(), 1)
	report := w.verify()
	requireReasons(t, report, replay.Parked)
	require.Zero(t, report.Unexplained())
	require.Equal(t, "event 2 is a dead letter, though it could be applied now: clerksync dead retry", report.Findings[0].Why)
	require.Equal(t, replay.Counts{Applied: 1}, w.retry())
	requireReasons(t, w.verify())
}

// TestVerifyFindsWhatWasMissed: settled, and not in the tables.
func TestVerifyFindsWhatWasMissed(t *testing.T) {
	t.Parallel()
	w := worked(t, user(1), user(2), org(1, 1), joined(1, 1, 2))
	w.exec("DELETE FROM org_memberships; DELETE FROM users WHERE clerk_id = 'user_1'; DELETE FROM entity_heads WHERE clerk_id IN ('user_1', 'orgmem_11', 'user_1/org_1')")
	report := w.verify()
	requireReasons(t, report, replay.Missed)
	require.Equal(t, report.Differences, report.Unexplained())
	require.Equal(t, finding{"users", "user_1", "log", replay.Missed, "[]"}, found(report)[0])
	require.Equal(t, "event 1 is settled, and the tables do not have it: clerksync replay --seq 1", report.Findings[0].Why)
	w.replay(eventlog.Filter{})
	requireReasons(t, w.verify())
}

// TestVerifyBesideLiveTraffic: rows that change during the comparison are no findings.
func TestVerifyBesideLiveTraffic(t *testing.T) {
	t.Parallel()
	w := worked(t, users(0, 50)...)
	ctx, cancel := context.WithCancel(t.Context())
	var traffic sync.WaitGroup
	traffic.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond) // what a worker keeps up with
		defer tick.Stop()
		for i := int64(1); ctx.Err() == nil; i++ {
			<-tick.C
			u := int(i % 50)
			for _, e := range []*clerk.Event{
				userAt(u, 1000*i, fmt.Sprintf("%d@example.com", i%7)), joined(u, int(i%5), 1000*i+1), userDeleted(int(i%500)+50, 1000*i+2),
			} {
				if _, err := w.Log.Append(context.Background(), e); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	for range 3 {
		report := w.verify()
		require.Zero(t, report.Unexplained(), found(report))
	}
	cancel()
	traffic.Wait()
	w.settle()
	requireReasons(t, w.verify())
}

// TestVerifyWaitsForTheWorker: rows that change during the first comparison are compared again.
func TestVerifyWaitsForTheWorker(t *testing.T) {
	t.Parallel()
	w := worked(t, user(1))
	rounds := 0
	v := replay.Verifier{Log: w.Log, Store: w.Store, Appliers: appliers, Batch: batch, Comparing: func() {
		if rounds++; rounds == 1 {
			w.Append(userAt(1, 9, "new@example.com"), user(2))
			w.settle()
		}
	}}
	report, err := v.Run(t.Context())
	require.NoError(t, err)
	requireReasons(t, report)
	require.Equal(t, 2, rounds)
	require.Equal(t, replay.Counts{Applied: 3}, report.Events)
}

// TestVerifyIsStopped in the middle, while it rebuilds or compares, and leaves nothing.
func TestVerifyIsStopped(t *testing.T) {
	t.Parallel()
	w := worked(t, users(0, 300)...)
	tables := testkit.Tables(t, w.Store)
	for _, when := range []string{"rebuilding", "comparing", "at once"} {
		ctx, cancel := context.WithCancel(t.Context())
		v := replay.Verifier{Log: w.Log, Store: w.Store, Appliers: appliers, Batch: batch}
		switch when {
		case "rebuilding":
			v.Rebuilding = func(_ *replay.Events, total uint64) {
				require.EqualValues(t, 300, total)
				cancel()
			}
		case "comparing":
			v.Comparing = cancel
		default:
			cancel()
		}
		_, err := v.Run(ctx)
		require.ErrorIs(t, err, context.Canceled, when)
		cancel()
		w.requireNoScratch()
	}
	require.Equal(t, tables, testkit.Tables(t, w.Store))
	requireReasons(t, w.verify())
}

// TestTwoVerifyAtOnce: the second is told.
func TestTwoVerifyAtOnce(t *testing.T) {
	t.Parallel()
	w := worked(t, user(1))
	var second error
	v := replay.Verifier{Log: w.Log, Store: w.Store, Appliers: appliers, Batch: batch, Comparing: func() {
		_, second = (&replay.Verifier{Log: w.Log, Store: w.Store, Appliers: appliers, Batch: batch}).Run(context.Background())
	}}
	report, err := v.Run(t.Context())
	require.NoError(t, err)
	requireReasons(t, report)
	require.ErrorIs(t, second, store.ErrScratchInUse)
	w.requireNoScratch()
}

// TestVerifyParksNothing: what can never be applied is counted.
func TestVerifyParksNothing(t *testing.T) {
	t.Parallel()
	bad := user(1)
	bad.Body = []byte("{")
	w := worked(t, user(0), bad)
	before := w.Letters()
	report := w.verify()
	require.Equal(t, replay.Counts{Applied: 1, Dead: 1}, report.Events)
	require.Equal(t, len(before), len(w.Letters()))
	require.Equal(t, before[0].Seq, w.Letters()[0].Seq)
}

// TestReasons: which of them are to be expected.
func TestReasons(t *testing.T) {
	t.Parallel()
	unexplained := []replay.Reason{replay.OtherLog, replay.Missed, replay.Changed}
	for _, r := range []replay.Reason{
		replay.OtherLog, replay.Erased, replay.Cut, replay.Pending, replay.Moved, replay.Parked, replay.Follows, replay.Missed, replay.Changed,
	} {
		require.Equal(t, !slices.Contains(unexplained, r), r.Explained(), r)
	}
}
