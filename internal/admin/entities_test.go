package admin_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/admin"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// newTables makes a dashboard with tables that work fills from the log.
func newTables(t *testing.T, change ...func(*admin.Options)) (w *world, st *store.Store, work func()) {
	t.Helper()
	st = testkit.Store(t)
	w = newWorld(t, append(change, func(o *admin.Options) { o.Store = st })...)
	return w, st, func() {
		t.Helper()
		p := projector.New(projector.Options{Log: w.log, Apply: st.Apply, Registry: prometheus.NewRegistry()})
		p.Start()
		testkit.Eventually(t, "every event is settled", func() (bool, any) {
			b, err := w.log.Backlog(t.Context())
			return err == nil && b.Pending == 0, err
		})
		require.NoError(t, p.Stop(context.Background()))
	}
}

// updated is an event about the i-th user of a test, some time after user(i).
func updated(i int, after time.Duration) *clerk.Event {
	at := time.Now().Add(after).UnixMilli()
	return testkit.Event(fmt.Sprint("msg_u", i, after), "user.updated", at,
		testkit.UserData(fmt.Sprint("user_", i), fmt.Sprint(i, secret), secret, at-1000, at))
}

// statuses are those of the events of a list, by sequence.
func (w *world) statuses(path string) map[uint64]string {
	w.t.Helper()
	var list struct {
		Events []struct {
			Seq    uint64
			Status string
		}
	}
	w.get(path, &list)
	all := map[uint64]string{}
	for _, e := range list.Events {
		all[e.Seq] = e.Status
	}
	return all
}

// TestStatusOfEvents: it says what became of each, and no more than is known.
func TestStatusOfEvents(t *testing.T) {
	t.Parallel()
	w, st, work := newTables(t)
	w.append(user(1), updated(1, time.Second))
	w.append(testkit.Event("msg_s", "session.created", time.Now().UnixMilli(), testkit.Object{"id": "sess_1"}))
	broken, discarded := user(3), user(4)
	broken.Body, discarded.Body = []byte(`{"type":"user.created","data":{"id":7}}`), []byte(`{"type":"user.created","data":{"id":7}}`)
	w.append(broken, discarded)
	require.Equal(t, map[uint64]string{1: "waiting", 2: "waiting", 3: "waiting", 4: "waiting", 5: "waiting"}, w.statuses("/events"))
	work()
	require.NoError(t, w.log.RemoveLetters(t.Context(), 2))
	w.append(updated(1, -time.Hour), user(6))
	want := map[uint64]string{1: "superseded", 2: "applied", 3: "ignored", 4: "parked", 5: "settled", 6: "waiting", 7: "waiting"}
	require.Equal(t, want, w.statuses("/events"))
	require.Equal(t, map[uint64]string{1: "superseded", 2: "applied", 6: "waiting"}, w.statuses("/entities/user_1"))
	var one struct{ Status string }
	w.get("/events/4", &one)
	require.Equal(t, "parked", one.Status)
	work()
	require.Equal(t, "superseded", w.statuses("/events?user=user_1")[6], "it was stale")

	// A discarded letter whose entity has an older head was not superseded.
	late := updated(6, time.Second)
	late.Body = []byte(`{"type":"user.updated","data":{"id":7}}`)
	w.append(late)
	work()
	require.Equal(t, "parked", w.statuses("/events?user=user_6")[8])
	require.NoError(t, w.log.RemoveLetters(t.Context(), 3))
	require.Equal(t, "settled", w.statuses("/events?user=user_6")[8])

	// Without the tables, what the log knows is said.
	w.append(user(9))
	st.Close()
	require.Equal(t, map[uint64]string{9: "waiting"}, w.statuses("/events?user=user_9"))
	require.Equal(t, map[uint64]string{1: "", 2: "", 6: ""}, w.statuses("/events?user=user_1"))
}

// TestOverview counts people, organizations and memberships.
func TestOverview(t *testing.T) {
	t.Parallel()
	w, _, work := newTables(t)
	w.append(user(1), user(2), membership(1))
	work()
	var o store.Overview
	w.get("/overview", &o)
	require.Equal(t, map[clerk.Kind]store.Count{
		clerk.KindUser: {Rows: 2, Exact: true}, clerk.KindOrganization: {Rows: 1, Exact: true}, clerk.KindMembership: {Rows: 1, Exact: true},
	}, o.Counts)
	require.Regexp(t, `^1[5-9]`, o.Version)
}

// find asks for an entity by name.
func (w *world) find(name string, change ...func(*http.Request)) (int, string) {
	w.t.Helper()
	body := func(r *http.Request) {
		r.Body = io.NopCloser(strings.NewReader(url.Values{"name": {name}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer := w.do("POST", "/find", append(change, body)...)
	return answer.Code, strings.TrimSpace(answer.Body.String())
}

// TestFind by id and by e-mail address, which is in no address of a request and no answer.
func TestFind(t *testing.T) {
	t.Parallel()
	w, _, work := newTables(t)
	w.append(user(1))
	work()
	action := w.action()
	for _, c := range []struct {
		name, want string
		status     int
	}{
		{"1" + secret, `["user_1"]`, 200},
		{" 1" + strings.ToUpper(secret) + " ", `["user_1"]`, 200},
		{"orgmem_7", `["orgmem_7"]`, 200},
		{"nobody" + secret, "no user has this e-mail address", 404},
		{strings.Repeat("x", 400) + "@example.com", "not a Clerk id of the form user_…, org_… or orgmem_…, nor an e-mail address", 400},
		{"user_1.>", "not a Clerk id of the form user_…, org_… or orgmem_…, nor an e-mail address", 400},
		{"", "not a Clerk id of the form user_…, org_… or orgmem_…, nor an e-mail address", 400},
	} {
		status, text := w.find(c.name, action)
		require.Equal(t, c.status, status, c.name)
		require.Equal(t, c.want, text, c.name)
	}
	status, _ := w.find("user_1")
	require.Equal(t, http.StatusForbidden, status, "without the token of the page")
}

// TestEntity: the row, the head and the events of one.
func TestEntity(t *testing.T) {
	t.Parallel()
	w, _, work := newTables(t)
	w.append(user(1), membership(1))
	work()
	var e struct {
		Kind, ID, State string
		Row, Head       map[string]any
		Events          []event
		More            bool
	}
	w.get("/entities/orgmem_1", &e)
	require.Equal(t, []any{"membership", "orgmem_1", "live", false}, []any{e.Kind, e.ID, e.State, e.More})
	require.Equal(t, "user_1", e.Row["user_clerk_id"])
	require.NotContains(t, e.Row, "raw")
	require.Equal(t, "msg_m1", e.Head["event_id"])
	require.Len(t, e.Events, 1)

	w.get("/entities/org_1", &e)
	require.Equal(t, []any{"stub", 0}, []any{e.State, len(e.Events)})

	answer := w.do("GET", "/entities/user_404")
	require.Equal(t, http.StatusNotFound, answer.Code)
	require.Equal(t, "it is not known: no event about it was stored\n", answer.Body.String())
	require.Equal(t, http.StatusBadRequest, w.do("GET", "/entities/sess_1").Code)
	require.Equal(t, http.StatusConflict, newWorld(t).do("GET", "/entities/user_1").Code)
}

// TestTablesNeedALogin, as payloads do.
func TestTablesNeedALogin(t *testing.T) {
	t.Parallel()
	w, _, _ := newTables(t, withToken)
	for _, path := range []string{"/overview", "/entities/user_1"} {
		require.Equal(t, http.StatusUnauthorized, w.do("GET", path).Code, path)
	}
	status, _ := w.find("user_1")
	require.Equal(t, http.StatusUnauthorized, status)
}

// TestTablesAway: PostgreSQL does not answer, and its address is not shown.
func TestTablesAway(t *testing.T) {
	t.Parallel()
	st := testkit.OpenStore(t, "postgres://nobody@127.0.0.1:1/none?connect_timeout=1")
	w := newWorld(t, func(o *admin.Options) { o.Store = st })
	for _, path := range []string{"/overview", "/entities/user_1"} {
		answer := w.do("GET", path)
		require.Equal(t, http.StatusServiceUnavailable, answer.Code)
		require.Equal(t, "PostgreSQL does not answer: try again when it is back\n", answer.Body.String())
	}
}
