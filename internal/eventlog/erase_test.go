package eventlog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	embeddednats "github.com/clerksync/clerksync/internal/embedded/nats"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// filesWith returns the files below a folder that contain one of the texts.
func filesWith(t *testing.T, dir string, texts ...string) []string {
	t.Helper()
	var found []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // the server is at work
			return nil
		}
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		for _, text := range texts {
			if bytes.Contains(content, []byte(text)) {
				found = append(found, path+": "+text)
			}
		}
		return err
	}))
	return found
}

// marked returns an event with a marker to erase, in the body and in the ids. It is
// large: a block of the log holds about 130 of them.
func marked(i int) *clerk.Event {
	e := testkit.Event(fmt.Sprintf("msg_%d", i), "user.created", 1767225600000+int64(i),
		testkit.UserData(fmt.Sprintf("user_%d", i), fmt.Sprintf("marker%dend@example.com", i), "", 1767225600000, 1767225600000))
	e.Body = append(e.Body, strings.Repeat(" ", 64<<10)...)
	return e
}

func marker(i int) string { return fmt.Sprintf("marker%dend", i) }

// requireMarked checks that all events are stored byte for byte, except erased ones.
func requireMarked(t *testing.T, l *eventlog.Log, n int, erased map[int]bool) {
	t.Helper()
	s := scan(t, l, eventlog.Filter{})
	for i := range n {
		if erased[i] {
			_, err := l.Get(t.Context(), uint64(i+1))
			require.ErrorIs(t, err, eventlog.ErrNotFound)
			continue
		}
		m, err := s.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(i+1), m.Seq)
		requireDelivered(t, marked(i), m)
	}
	require.Empty(t, readAll(t, s))
	s.Close()
}

// openOwner opens a log as the process does that the server runs in.
func openOwner(t *testing.T, server *embeddednats.Server) *eventlog.Log {
	t.Helper()
	return open(t, testkit.Connect(t, server), eventlog.Options{Sync: server.Sync, Room: server.Room, Erase: server.Erase})
}

// erasers are the ways to erase: by NATS, by the process that the server runs in, and by
// another process, through that one.
var erasers = map[string]func(*testing.T, *embeddednats.Server) *eventlog.Log{
	"NATS": func(t *testing.T, server *embeddednats.Server) *eventlog.Log {
		return open(t, testkit.Connect(t, server), eventlog.Options{})
	},
	"owner": openOwner,
	"command": func(t *testing.T, server *embeddednats.Server) *eventlog.Log {
		openOwner(t, server)
		return attach(t, server)
	},
}

func attach(t *testing.T, server *embeddednats.Server) *eventlog.Log {
	t.Helper()
	l, err := eventlog.Attach(t.Context(), testkit.Connect(t, server), "")
	require.NoError(t, err)
	t.Cleanup(l.Close)
	return l
}

// TestErasedEventsLeaveNothingInTheFiles while the server runs, and after it was stopped
// or killed and restarted.
func TestErasedEventsLeaveNothingInTheFiles(t *testing.T) {
	t.Parallel()
	for name, open := range erasers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			server := startIn(t, dir)
			l := open(t, server)
			n, erased := testErase(t, l, dir)

			// A killed server leaves its files as they are now.
			killed := filepath.Join(t.TempDir(), "data")
			require.NoError(t, os.CopyFS(killed, os.DirFS(dir)))
			l.Close()
			server.Stop()
			requireErased(t, dir, erased)
			for _, dir := range []string{dir, killed} {
				server = startIn(t, dir)
				l = open(t, server)
				requireErased(t, dir, erased)
				requireMarked(t, l, n, erased)
				stored, err := l.Append(t.Context(), marked(n))
				require.NoError(t, err)
				require.Equal(t, uint64(n+1), stored.Seq, "a sequence is not given twice")
				require.NoError(t, l.Erase(t.Context(), 101))
				_, err = l.Get(t.Context(), 101)
				require.ErrorIs(t, err, eventlog.ErrNotFound)
				require.Empty(t, filesWith(t, dir, marker(100)))
				server.Stop()
				requireErased(t, dir, erased)
			}
		})
	}
}

// TestErasingManyIsFast, at least 20 times faster than NATS does it.
func TestErasingManyIsFast(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := startIn(t, dir)
	owner := openOwner(t, server)
	const n = 8000 // of 2 KB: two blocks
	var all []*clerk.Event
	for i := range n {
		e := marked(i)
		e.Body = e.Body[:len(e.Body)-62<<10]
		all = append(all, e)
	}
	appendMany(t, owner, all)
	// Every second one: to erase most of a block is cheaper, the server then drops the rest.
	var many []uint64
	erased := map[int]bool{}
	for _, m := range readHeaders(t, owner, eventlog.Filter{}) {
		if m.Seq > 200 && m.Seq%2 == 0 {
			many = append(many, m.Seq)
			if m.Seq%500 == 0 {
				var i int
				_, err := fmt.Sscanf(m.Event.ID, "msg_%d", &i)
				require.NoError(t, err)
				erased[i] = true
			}
		}
	}
	nc := testkit.Connect(t, server)
	events := streamOf(t, nc, eventlog.Stream)
	each := func(n int, f func()) time.Duration {
		begin := time.Now()
		f()
		return time.Since(begin) / time.Duration(n)
	}
	slow := each(50, func() {
		for seq := uint64(1); seq <= 50; seq++ {
			require.NoError(t, events.SecureDeleteMsg(t.Context(), seq))
		}
	})
	half := len(many) / 2
	for _, way := range []struct {
		name string
		log  *eventlog.Log
		seqs []uint64
	}{{"owner", owner, many[:half]}, {"command", attach(t, server), many[half:]}} {
		fast := each(len(way.seqs), func() {
			for batch := range slices.Chunk(way.seqs, eventlog.EraseBatch) {
				require.NoError(t, way.log.Erase(t.Context(), batch...))
			}
		})
		t.Logf("%s: %s for each event, NATS alone %s, %.0f times", way.name, fast, slow, float64(slow)/float64(fast))
		require.Less(t, 20*fast, slow, way.name)
	}
	requireErased(t, dir, erased)
}

func requireErased(t *testing.T, dir string, erased map[int]bool) {
	t.Helper()
	var markers []string
	for i := range erased {
		markers = append(markers, marker(i))
	}
	require.Empty(t, filesWith(t, dir, markers...))
}

// testErase stores events and erases some of them.
func testErase(t *testing.T, l *eventlog.Log, dir string) (stored int, erased map[int]bool) {
	t.Helper()
	const n = 300 // of 64 KB: three blocks
	var all []*clerk.Event
	for i := range n {
		all = append(all, marked(i))
	}
	if l.Atomic() {
		appendMany(t, l, all[:200])
		all = all[200:] // and one by one
	}
	appendAll(t, l, all)
	require.GreaterOrEqual(t, len(filesWith(t, dir, "marker")), 3, "stored markers are in the files")

	erased = map[int]bool{}
	erase := func(i int) {
		t.Helper()
		for range 2 { // the second time is no error
			require.NoError(t, l.Erase(t.Context(), uint64(i+1)))
		}
		erased[i] = true
	}
	for _, i := range []int{
		0, 64, 127, 128, 150, 151, 152, 250, // the first ones of blocks, the last ones, in the middle
		n - 1, n - 2, n - 10, // the last block, that is written to
	} {
		erase(i)
		if i == 64 || i == n-1 {
			requireErased(t, dir, erased) // at once
		}
	}
	require.NoError(t, l.Erase(t.Context(), n+1000), "a sequence that was never stored")
	requireErased(t, dir, erased)
	requireMarked(t, l, n, erased)

	// A new event, before and after others.
	for i := n; i < n+4; i++ {
		appendAll(t, l, []*clerk.Event{marked(i)})
		if i == n || i == n+3 {
			erase(i)
		}
	}
	erase(n + 1)
	requireErased(t, dir, erased)
	requireMarked(t, l, n+4, erased)
	return n + 4, erased
}

func TestRemovedLettersLeaveNothingInTheFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := startIn(t, dir)
	nc := testkit.Connect(t, server)
	l := open(t, nc, eventlog.Options{})
	require.Empty(t, filesWith(t, dir, marker(1)))
	for i := range 300 {
		require.NoError(t, l.Park(t.Context(), marked(i), refused(1, uint64(i+1))))
	}
	require.NotEmpty(t, filesWith(t, dir, marker(1)))
	gone := []int{0, 60, 128, 200, 298, 299}
	for _, i := range gone {
		for range 2 {
			require.NoError(t, l.RemoveLetters(t.Context(), uint64(i+1)))
		}
	}
	require.Empty(t, filesWith(t, dir, marker(0), marker(60), marker(128), marker(200), marker(298), marker(299)))
	// A replaced letter is erased as well: only the new one contains the marker.
	require.NoError(t, l.ParkAgain(t.Context(), marked(77), refused(1, 78)))
	all := lettersOf(t, l, eventlog.Filter{User: "user_77"})
	require.Len(t, all, 1)
	requireDelivered(t, marked(77), all[0])
	require.NoError(t, l.RemoveLetters(t.Context(), all[0].Seq))
	require.Empty(t, filesWith(t, dir, marker(77)))
	require.Len(t, lettersOf(t, l, eventlog.Filter{}), 300-len(gone)-1)

	killed := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.CopyFS(killed, os.DirFS(dir)))
	server.Stop()
	for _, dir := range []string{dir, killed} {
		l := open(t, testkit.Connect(t, startIn(t, dir)), eventlog.Options{})
		require.Len(t, lettersOf(t, l, eventlog.Filter{}), 300-len(gone)-1)
		require.Empty(t, filesWith(t, dir, marker(0), marker(60), marker(77), marker(128), marker(200), marker(298), marker(299)))
	}
}

func TestEraseWithoutAServerIsAnError(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	l := open(t, testkit.Connect(t, n), eventlog.Options{})
	appendAll(t, l, events(0, 1))
	n.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	finish(t, prompt, "erasing", func() { require.Error(t, l.Erase(ctx, 1)) })
}

func TestPersonalEventsAreAllThatNameTheUser(t *testing.T) {
	t.Parallel()
	testPersonalEvents(t, testkit.Connect(t, testkit.NATS(t)))
}

func testPersonalEvents(t *testing.T, nc *nats.Conn) {
	// The log does not list sessions: they were stored under another setting.
	l := open(t, nc, eventlog.Options{StoreEvents: []string{"user.*", "organizationMembership.*"}})
	at := int64(1767225600000)
	appendAll(t, l, []*clerk.Event{
		testkit.Event("msg_1", "user.created", at, testkit.UserData("user_1", "a@example.com", "", at, at)),
		testkit.Event("msg_2", "user.created", at, testkit.UserData("user_2", "b@example.com", "", at, at)),
		testkit.Event("msg_3", "organization.created", at, testkit.OrganizationData("org_1", "", at, at)),
		testkit.Event("msg_4", "organizationMembership.created", at, testkit.MembershipData("orgmem_1", "user_1", "org_1", "r", at, at)),
		testkit.Event("msg_5", "organizationMembership.created", at, testkit.MembershipData("orgmem_2", "user_2", "org_1", "r", at, at)),
		testkit.Event("msg_6", "session.created", at, testkit.Object{"id": "sess_1", "user_id": "user_1"}),
		testkit.Event("msg_7", "user.deleted", at, testkit.DeletedData("user", "user_1")),
		testkit.Event("msg_8", "user.created", at, testkit.UserData("user_11", "c@example.com", "", at, at)),
	})
	var got []uint64
	require.NoError(t, l.PersonalEvents(t.Context(), "user_1", func(m *eventlog.Message) error {
		got = append(got, m.Seq)
		return l.Erase(t.Context(), m.Seq) // during the scan
	}))
	require.Equal(t, []uint64{1, 4, 6, 7}, got)
	require.Equal(t, []uint64{2, 3, 5, 8}, seqsOf(readHeaders(t, l, eventlog.Filter{})))
	require.NoError(t, l.PersonalEvents(t.Context(), "user_1", func(m *eventlog.Message) error { return errors.New("nothing is left") }))

	stop := errors.New("stop")
	require.Equal(t, stop, l.PersonalEvents(t.Context(), "user_2", func(*eventlog.Message) error { return stop }))
	require.EqualError(t, l.PersonalEvents(t.Context(), "user_*", nil), `user is not a Clerk id of the form user_…`)
	requireNoConsumers(t, nc)
}
