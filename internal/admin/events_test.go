package admin_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/admin"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

type event struct {
	Seq                             uint64
	Type, Entity, User, Org, Origin string
	SvixID                          string `json:"svix_id"`
	Bytes                           int
}

type eventList struct {
	Events []event
	More   bool
}

func membership(i int) *clerk.Event {
	at := time.Now().UnixMilli()
	return testkit.Event(fmt.Sprint("msg_m", i), "organizationMembership.created", at,
		testkit.MembershipData(fmt.Sprint("orgmem_", i), fmt.Sprint("user_", i), "org_1", "org:admin", at, at))
}

// seqs are the sequences of what a list has.
func (w *world) seqs(query string) []uint64 {
	w.t.Helper()
	var list eventList
	w.get("/events?"+query, &list)
	all := []uint64{}
	for _, e := range list.Events {
		all = append(all, e.Seq)
	}
	return all
}

// TestEventsAreListed the newest first, by page, and as they are asked for.
func TestEventsAreListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var list eventList
	w.get("/events", &list)
	require.Equal(t, eventList{Events: []event{}}, list)
	require.Contains(t, w.do("GET", "/events").Body.String(), `"events":[]`)

	for i := range 60 {
		w.append(user(i + 1))
	}
	w.append(membership(3))
	w.get("/events", &list)
	require.Len(t, list.Events, 25)
	require.True(t, list.More)
	e := list.Events[0]
	require.EqualValues(t, 61, e.Seq)
	require.Equal(t, []string{"organizationMembership.created", "orgmem_3", "user_3", "org_1", "webhook", "msg_m3"},
		[]string{e.Type, e.Entity, e.User, e.Org, e.Origin, e.SvixID})
	require.EqualValues(t, 37, list.Events[24].Seq)

	w.get("/events?before=12", &list)
	require.False(t, list.More)
	require.Len(t, list.Events, 11)
	require.EqualValues(t, 11, list.Events[0].Seq)

	require.Equal(t, []uint64{61}, w.seqs("type=organizationMembership.*"))
	require.Equal(t, []uint64{61, 3}, w.seqs("user=user_3"))
	require.Equal(t, []uint64{3}, w.seqs("user=user_3&type=user.created,session.*"))
	require.Equal(t, []uint64{3}, w.seqs("user=%20user_3%20&type=user.c*ted"))
	require.Equal(t, []uint64{61}, w.seqs("org=org_1"))
	require.Equal(t, []uint64{3}, w.seqs("user=user_3&before=61"))
	require.Empty(t, w.seqs("user=user_99"))
}

// TestWhatIsWrongWithAFilterIsSaid and not repeated: it may be about a person.
func TestWhatIsWrongWithAFilterIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for query, want := range map[string]string{
		"user=" + secret:                         "the user is not a Clerk id of the form user_…; clerksync show finds it by e-mail address\n",
		"user=org_1":                             "the user is not a Clerk id of the form user_…; clerksync show finds it by e-mail address\n",
		"user=user_*":                            "the user is not a Clerk id of the form user_…; clerksync show finds it by e-mail address\n",
		"user=user_1.>":                          "the user is not a Clerk id of the form user_…; clerksync show finds it by e-mail address\n",
		"org=acme":                               "the organization is not a Clerk id of the form org_…; copy the id from the Clerk dashboard → Organizations\n",
		"org=user_1":                             "the organization is not a Clerk id of the form org_…; copy the id from the Clerk dashboard → Organizations\n",
		"type=" + url.QueryEscape("[<script>"):   "the type is not a type of events: user.created, or a glob such as user.* or *.deleted\n",
		"type=user":                              "the type is not a type of events: user.created, or a glob such as user.* or *.deleted\n",
		"type=a." + strings.Repeat("x", 200):     "the type is not a type of events: user.created, or a glob such as user.* or *.deleted\n",
		"type=" + strings.Repeat("user.*,", 9):   "these are too many types: give 8 at most, or a glob\n",
		"before=1":                               "before is a sequence, from 2\n",
		"before=x":                               "before is a sequence, from 2\n",
		"user=user_" + strings.Repeat("x", 2000): "the user is not a Clerk id of the form user_…; clerksync show finds it by e-mail address\n",
	} {
		answer := w.do("GET", "/events?"+query)
		require.Equal(t, http.StatusBadRequest, answer.Code, query)
		require.Equal(t, want, answer.Body.String(), query)
	}
}

func TestOneEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := user(1)
	w.append(e)
	var got event
	w.get("/events/1", &got)
	require.Equal(t, []any{uint64(1), "user.created", "user_1", "user_1", "msg_1", len(e.Body)},
		[]any{got.Seq, got.Type, got.Entity, got.User, got.SvixID, got.Bytes})
	answer := w.do("GET", "/events/2")
	require.Equal(t, http.StatusNotFound, answer.Code)
	require.Equal(t, "this event is not in the log any more: it is too old, or was erased\n", answer.Body.String())
}

type shown struct {
	Text      string
	Bytes     int
	Cut, JSON bool
}

func (w *world) show(body string) shown {
	w.t.Helper()
	e := user(1)
	e.ID, e.Body = fmt.Sprint("msg_", time.Now().UnixNano()), []byte(body)
	var got shown
	w.get(fmt.Sprintf("/events/%d/body", w.append(e)), &got)
	require.Equal(w.t, len(body), got.Bytes)
	return got
}

// TestBodyIsShownAsText: indented, not longer than a person reads, and with nothing in
// it that does something to what is around it.
func TestBodyIsShownAsText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.Equal(t, "{\n  \"a\": [\n    1,\n    1.50\n  ],\n  \"a\": \"\\u00e9é 🦊\"\n}", w.show(`{"a":[1,1.50],"a":"\u00e9é 🦊"} `).Text)
	require.Equal(t, shown{Text: "", Bytes: 0, JSON: true}, w.show(""))
	require.Equal(t, shown{Text: "{\"a\": nothing", Bytes: 13}, w.show(`{"a": nothing`))
	require.Equal(t, `\xff\u{0}\u{1b}[31m\u{202e}`+"\n<script>", w.show("\xff\x00\x1b[31m\u202e\n<script>").Text)
	require.NotContains(t, w.do("GET", "/events/4/body").Body.String(), "<script>")

	long := w.show(`{"a":"` + strings.Repeat("x", 200<<10) + `"}`)
	require.True(t, long.Cut)
	require.True(t, long.JSON)
	require.Len(t, long.Text, 64<<10)
	noise := w.show(strings.Repeat("x", 200<<10))
	require.True(t, noise.Cut)
	require.False(t, noise.JSON)
	require.Len(t, noise.Text, 64<<10)
	deep := w.show(strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9000))
	require.True(t, deep.Cut, "indented it would be 160 MB")
	require.LessOrEqual(t, len(deep.Text), 64<<10)
}

type outcome struct{ Outcome, Text string }

// act does something from the page, with the status that it gets.
func (w *world) act(path string, status int) outcome {
	w.t.Helper()
	answer := w.do("POST", path, w.action())
	require.Equal(w.t, status, answer.Code, answer.Body)
	if status != http.StatusOK {
		return outcome{Text: strings.TrimSpace(answer.Body.String())}
	}
	var o outcome
	require.NoError(w.t, json.Unmarshal(answer.Body.Bytes(), &o))
	return o
}

// TestReplay of one event, and of no other.
func TestReplay(t *testing.T) {
	t.Parallel()
	st := testkit.Store(t)
	w := newWorld(t, func(o *admin.Options) { o.Store = st })
	w.append(user(1), user(2))
	rows := func() (n int) {
		require.NoError(t, st.Pool().QueryRow(t.Context(), "SELECT count(*) FROM users").Scan(&n))
		return n
	}
	require.Equal(t, outcome{"applied", "Applied: the row is what this event says."}, w.act("/events/2/replay", 200))
	require.Equal(t, 1, rows())
	require.Equal(t, "duplicate", w.act("/events/2/replay", 200).Outcome)

	older := testkit.Event("msg_older", "user.updated", 1000, testkit.UserData("user_2", "", "old", 1000, 1000))
	require.Equal(t, "stale", w.act(fmt.Sprintf("/events/%d/replay", w.append(older)), 200).Outcome)
	other := testkit.Event("msg_other", "session.created", time.Now().UnixMilli(), testkit.Object{"id": "sess_1"})
	require.Equal(t, "ignored", w.act(fmt.Sprintf("/events/%d/replay", w.append(other)), 200).Outcome)

	broken := user(3)
	broken.Body = []byte(`{"type":"user.created","data":{"id":7}}`)
	require.Equal(t, "dead", w.act(fmt.Sprintf("/events/%d/replay", w.append(broken)), 200).Outcome)
	require.Len(t, w.letters(), 1)
	require.Equal(t, 1, rows())
	require.Contains(t, w.act("/events/99/replay", 404).Text, "not in the log any more")
	scan, err := w.log.Events(t.Context(), eventlog.Filter{}, true)
	require.NoError(t, err)
	n := 0
	require.NoError(t, scan.Each(t.Context(), func(*eventlog.Message) error { n++; return nil }))
	require.Equal(t, 5, n, "nothing is published")
}

// TestWithoutADatabaseNothingIsApplied, and the page does not offer it.
func TestWithoutADatabaseNothingIsApplied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append(user(1))
	w.park(user(1), "refused", 1)
	for _, path := range []string{"/events/1/replay", "/letters/1/retry"} {
		require.Contains(t, w.act(path, http.StatusConflict).Text, "this process has no database")
	}
	require.Contains(t, w.do("GET", "/").Body.String(), `<meta name="clerksync-can-apply" content="false">`)
	require.Len(t, w.letters(), 1)
	w.act("/letters/1/discard", http.StatusOK)
	require.Empty(t, w.letters())
}

// TestPostgreSQLAway: a person is told, and does not wait as a worker does.
func TestPostgreSQLAway(t *testing.T) {
	t.Parallel()
	st := testkit.OpenStore(t, "postgres://nobody@127.0.0.1:1/none?connect_timeout=1")
	w := newWorld(t, func(o *admin.Options) { o.Store = st })
	w.append(user(1))
	w.park(user(1), "refused", 1)
	for _, path := range []string{"/events/1/replay", "/letters/1/retry"} {
		text := w.act(path, http.StatusServiceUnavailable).Text
		require.Equal(t, "PostgreSQL does not answer, and nothing was changed: try again when it is back", text)
	}
	require.Len(t, w.letters(), 1)
}

// TestLogAway: the answer says so, without addresses.
func TestLogAway(t *testing.T) {
	t.Parallel()
	server := testkit.NATS(t)
	nc := testkit.Connect(t, server)
	log := testkit.OpenLog(t, nc)
	w := newWorld(t, func(o *admin.Options) { o.Log = log })
	server.Stop()
	require.Equal(t, http.StatusOK, w.do("GET", "/").Code)
	for _, path := range []string{"/events", "/letters/1/body"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel() // each waits for its time limit
			answer := w.do("GET", path)
			require.Equal(t, http.StatusServiceUnavailable, answer.Code)
			require.Contains(t, answer.Body.String(), "the event log ")
			require.NotContains(t, answer.Body.String(), "nats")
		})
	}
}
