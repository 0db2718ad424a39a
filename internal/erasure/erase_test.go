package erasure_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/archive"
	"github.com/clerksync/clerksync/internal/clerk"
	embeddednats "github.com/clerksync/clerksync/internal/embedded/nats"
	"github.com/clerksync/clerksync/internal/embedded/postgres"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/replay"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// Values that only this person has.
const (
	adaID      = "user_Ada"
	adaEmail   = "ada.vq7x@mail.example"
	adaSecond  = "ada.private.vq7x@mail.example"
	adaName    = "Ada Vq7xlace"
	adaSurname = "Vq7xlace"
)

// traces are how a word may be written.
func traces(words ...string) [][]byte {
	var all [][]byte
	for _, word := range words {
		all = append(all, []byte(word), []byte(strings.ToUpper(word)))
		escaped := ""
		for _, r := range word {
			escaped += fmt.Sprintf(`\u%04x`, r)
		}
		all = append(all, []byte(escaped), []byte(strings.ReplaceAll(word, "@", `\u0040`)))
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			for shift := range 3 {
				text := encoding.EncodeToString(append(make([]byte, shift), word...))
				begin := []int{0, 2, 3}[shift] // what depends on the bytes before it
				end := len(text)
				if (shift+len(word))%3 != 0 {
					end-- // on those behind it
				}
				all = append(all, []byte(text[begin:end]))
			}
		}
	}
	return all
}

var adaTraces = traces(adaEmail, adaSecond, adaSurname)

// tracesIn returns what is found of Ada.
func tracesIn(text []byte) []string {
	var found []string
	for _, trace := range adaTraces {
		if bytes.Contains(text, trace) {
			found = append(found, string(trace))
		}
	}
	return found
}

// tracesBelow reads every byte of every file below a folder.
func tracesBelow(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	files := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		files++
		for _, trace := range tracesIn(text) {
			found = append(found, path+": "+trace)
		}
		return err
	}))
	require.Positive(t, files)
	return found
}

// tracesInTables reads every row of every table that is not PostgreSQL's own.
func tracesInTables(w *world) []string {
	w.T.Helper()
	var found []string
	tables := w.Rows(`SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables
		WHERE table_schema NOT IN ('pg_catalog', 'information_schema')`)
	if len(tables) < 4 {
		w.T.Fatal("no tables: ", tables)
	}
	for _, table := range tables {
		for _, row := range w.Rows("SELECT r::text FROM " + table + " r") {
			found = append(found, tracesIn([]byte(row))...)
		}
	}
	return found
}

// export is what clerksync events export writes.
func export(w *world) []byte {
	w.T.Helper()
	var text bytes.Buffer
	a, err := archive.NewWriter(&text, false)
	w.Check(err)
	for _, m := range w.Events() {
		w.Check(a.Write(&archive.Record{Seq: m.Seq, StoredAt: m.StoredAt, Event: m.Event}))
	}
	w.Check(a.Close())
	return text.Bytes()
}

// ada is an event about her that has her name and addresses in several places.
func ada(at int64, eventType string) *clerk.Event {
	data := testkit.UserData(adaID, adaEmail, adaName, testkit.Base, testkit.Base+at)
	data["last_name"] = adaSurname
	data["email_addresses"] = append(data["email_addresses"].([]any), testkit.Object{
		"id": "idn_2", "email_address": adaSecond, "verification": testkit.Object{"status": "verified"},
	})
	data["external_accounts"] = []any{testkit.Object{"provider": "oauth_github", "email_address": adaEmail, "last_name": adaSurname}}
	data["unsafe_metadata"] = testkit.Object{"invited_as": adaEmail}
	return testkit.Event(fmt.Sprint("msg_ada_", at), eventType, testkit.Base+at, data)
}

func adaJoined(at int64, id, org string) *clerk.Event {
	data := testkit.MembershipData(id, adaID, org, "org:member", testkit.Base+at, testkit.Base+at)
	data["public_user_data"] = testkit.Object{"user_id": adaID, "identifier": adaEmail, "first_name": adaName, "last_name": adaSurname}
	return testkit.Event(fmt.Sprint("msg_ada_", at), "organizationMembership.created", testkit.Base+at, data)
}

// unreadable is an event of which not even the id was found.
func unreadable(id, body string) *clerk.Event {
	e := testkit.UserAt(0, "user_x")
	e.ID, e.Body, e.Envelope = id, []byte(body), clerk.Envelope{}
	return e
}

// crowd are events of other people, each of them large: twelve fill a block of the log.
func crowd(from, to int) []*clerk.Event {
	random := rand.NewChaCha8([32]byte{byte(from), byte(from >> 8)})
	var all []*clerk.Event
	for i := from; i < to; i++ {
		noise := make([]byte, 350_000)
		_, _ = random.Read(noise)
		data := testkit.UserData(fmt.Sprint("user_", i), fmt.Sprintf("%d@example.com", i), "name", testkit.Base, testkit.Base)
		data["unsafe_metadata"] = testkit.Object{"noise": fmt.Sprintf("%x", noise)}
		all = append(all, testkit.Event(fmt.Sprint("msg_", i), "user.created", testkit.Base+int64(i), data))
	}
	return all
}

// TestNothingOfAPersonIsLeft: not in the files of the log, in old blocks and new ones,
// while the server runs and after it was started again, nor in the tables, nor in an
// export. Everybody else's events stay as they are, byte for byte.
func TestNothingOfAPersonIsLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, err := embeddednats.Start(t.Context(), embeddednats.Options{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { server.Stop() })
	nc := testkit.Connect(t, server)
	log, err := eventlog.Open(t.Context(), nc, eventlog.Options{Sync: server.Sync, Room: server.Room, Erase: server.Erase})
	require.NoError(t, err)
	t.Cleanup(log.Close)
	w := &world{&testkit.World{T: t, Log: log, Store: testkit.Store(t)}}

	w.Emit(ada(1, "user.created"), testkit.OrgAt(1, "org_1"), adaJoined(2, "orgmem_Ada1", "org_1"))
	w.Emit(crowd(0, 15)...)
	w.Emit(ada(3, "user.updated"))
	w.Emit(crowd(15, 30)...)
	w.Emit(ada(4, "user.updated"), adaJoined(5, "orgmem_Ada2", "org_2"))
	w.Emit(testkit.Event("msg_ada_6", "organizationMembership.deleted", testkit.Base+6,
		testkit.Object{
			"object": "organization_membership", "id": "orgmem_Ada1", "organization": testkit.Object{"id": "org_1"},
			"public_user_data": testkit.Object{"user_id": adaID, "identifier": adaEmail, "last_name": adaSurname},
			"created_at":       testkit.Base + 2, "updated_at": testkit.Base + 2,
		}))
	w.Append(testkit.Event("msg_ada_7", "session.created", testkit.Base+7, testkit.Object{"id": "sess_1", "user_id": adaID, "user": testkit.Object{"last_name": adaSurname}}))
	w.Emit(crowd(30, 40)...)
	broken := ada(8, "user.updated")
	broken.Body = append(broken.Body, '}')
	w.Park(broken, w.Append(broken))
	w.Park(unreadable("msg_9", `{"data":{"id":"`+adaID+`","last_name":"`+adaSurname), 0)
	w.Park(unreadable("msg_10", `{"data":{"email_addresses":["`+adaEmail), 0)
	w.Park(unreadable("msg_11", `{"to":"`+adaSecond), 0)
	w.Park(unreadable("msg_12", `{"data":{"id":"user_0"`), 0)

	blocks, err := filepath.Glob(filepath.Join(dir, "jetstream/*/streams/"+eventlog.Stream+"/msgs/*.blk"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(blocks), 3)
	require.NotEmpty(t, tracesBelow(t, dir), "the search finds something")
	require.NotEmpty(t, tracesInTables(w), "the search finds something")
	require.NotEmpty(t, tracesIn(export(w)), "the search finds something")
	others := map[uint64]string{}
	for _, m := range w.Events() {
		if m.Event.Envelope.UserID != adaID {
			others[m.Seq] = fmt.Sprint(m.Header, string(m.Event.Body))
		}
	}
	require.Len(t, others, 41)

	p, err := w.eraser().Find(t.Context(), adaID)
	require.NoError(t, err)
	require.Len(t, p.Events, 8)
	require.ElementsMatch(t, []string{"msg_ada_8", "msg_9", "msg_10", "msg_11"}, testkit.IDs(p.Letters))
	require.False(t, p.Nothing())
	events, letters, err := w.eraser().Erase(t.Context(), p)
	require.NoError(t, err)
	require.Equal(t, []int{8, 4}, []int{events, letters})
	require.True(t, w.erased(adaID))

	look := func() {
		t.Helper()
		require.Empty(t, tracesBelow(t, dir))
		require.Empty(t, tracesInTables(w))
		require.Empty(t, tracesIn(export(w)))
		left := map[uint64]string{}
		for _, m := range w.Events() {
			left[m.Seq] = fmt.Sprint(m.Header, string(m.Event.Body))
		}
		require.Equal(t, len(others), len(left))
		for seq := range others {
			require.True(t, others[seq] == left[seq], seq)
		}
		require.Equal(t, []string{"msg_12"}, testkit.IDs(w.Letters()))
	}
	look()

	w.Log.Close()
	nc.Close()
	server.Stop()
	require.Empty(t, tracesBelow(t, dir))
	server, err = embeddednats.Start(t.Context(), embeddednats.Options{Dir: dir})
	require.NoError(t, err)
	w.Log = testkit.OpenLog(t, testkit.Connect(t, server))
	look()
}

// TestFilesOfPostgreSQLNeedAVacuum: rows of before are in them until then. The
// write-ahead log is not read: PostgreSQL overwrites it in time.
func TestFilesOfPostgreSQLNeedAVacuum(t *testing.T) {
	t.Parallel()
	// A temporary folder belongs to root alone, and PostgreSQL does not run as root.
	dir, err := os.MkdirTemp("", "clerksync-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	server, err := postgres.Start(t.Context(), postgres.Options{
		Dir: filepath.Join(dir, "postgres"), BinDir: os.Getenv("CLERKSYNC_PG_BIN"), Unsafe: true, Install: true,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop(context.Background())) })
	w := &world{&testkit.World{T: t, Log: testkit.Log(t), Store: testkit.OpenStore(t, server.URL("postgres"))}}
	_, err = w.Store.Migrate(t.Context())
	require.NoError(t, err)
	exec := func(statement string) {
		_, err := w.Store.Pool().Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	files := filepath.Join(dir, "postgres", "base")

	w.Emit(ada(1, "user.created"), adaJoined(2, "orgmem_Ada1", "org_1"), ada(3, "user.updated"), testkit.UserAt(1, "user_1"))
	exec("ANALYZE")
	exec("CHECKPOINT")
	require.NotEmpty(t, tracesBelow(t, files), "the search finds something")
	w.erase(adaID)
	for _, table := range []string{"users", "organizations", "org_memberships", "entity_heads"} {
		exec("VACUUM FULL ANALYZE " + table)
	}
	exec("VACUUM FULL pg_statistic") // which has values of columns
	exec("CHECKPOINT")
	require.Empty(t, tracesBelow(t, files))
}

// TestErasedLikeDeleted: what stays of a live user who is erased is what stays of one
// who was deleted: the ids.
func TestErasedLikeDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Emit(testkit.UserAt(1, "user_1"), testkit.UserAt(1, "user_2"), testkit.UserAt(1, "user_3"), testkit.JoinedAt(2, "orgmem_1_1"), testkit.JoinedAt(2, "orgmem_2_1"), testkit.JoinedAt(2, "orgmem_3_1"))
	w.Emit(testkit.UserDeletedAt(3, "user_2"))
	events, letters := w.erase("user_1")
	require.Equal(t, []int{2, 0}, []int{events, letters})

	rows := map[string]map[string]any{}
	for _, text := range w.Rows("SELECT to_jsonb(u)::text FROM users u") {
		var row map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &row))
		rows[row["clerk_id"].(string)] = row
	}
	require.Len(t, rows, 3)
	requireEmptyButIDs(t, rows["user_1"])
	requireEmptyButIDs(t, rows["user_2"])
	require.Equal(t, clerk.UUID("user_1").String(), rows["user_1"]["id"])
	require.Equal(t, "user_3@example.com", rows["user_3"]["email"])
	require.Equal(t, []string{"orgmem_3_1"}, w.Rows("SELECT clerk_id FROM org_memberships"))
	require.Equal(t, []string{"user_3"}, w.Rows("SELECT clerk_id FROM active_users"))
}

// TestErasedTwice: the testkit.Second time there is nothing.
func TestErasedTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Emit(testkit.UserAt(1, "user_1"), testkit.JoinedAt(2, "orgmem_1_1"))
	w.Park(unreadable("msg_x", "user_1@example.com"), 0)
	events, letters := w.erase("user_1")
	require.Equal(t, []int{2, 1}, []int{events, letters})
	tables := testkit.Tables(t, w.Store)
	p, err := w.eraser().Find(t.Context(), "user_1")
	require.NoError(t, err)
	require.True(t, p.Nothing())
	events, letters = w.erase("user_1")
	require.Equal(t, []int{0, 0}, []int{events, letters})
	require.Equal(t, tables, testkit.Tables(t, w.Store))
	require.True(t, w.erased("user_1"))
}

// TestWhoIsFound: by a row, by events that were not applied, by a dead letter alone.
func TestWhoIsFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Emit(testkit.UserAt(1, "user_1"))
	w.Append(testkit.JoinedAt(1, "orgmem_2_1"))
	w.Park(unreadable("msg_x", `{"id":"user_3"`), 0)
	for id, want := range map[string][]int{"user_1": {1, 0}, "user_2": {1, 0}, "user_3": {0, 1}} {
		p, err := w.eraser().Find(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, want, []int{len(p.Events), len(p.Letters)}, id)
		require.Equal(t, id == "user_1", p.Head != nil)
		for _, m := range append(p.Events, p.Letters...) {
			require.Nil(t, m.Event.Body)
		}
	}
	for _, id := range []string{"user_4", "user_0", "user_11"} {
		_, err := w.eraser().Find(t.Context(), id)
		require.ErrorIs(t, err, store.ErrUnknown)
		require.EqualError(t, err, id+": not known: no event about it was stored, and no row has it")
	}
	events, letters := w.erase("user_2")
	require.Equal(t, []int{1, 0}, []int{events, letters})
	require.True(t, w.erased("user_2"), "what is not known to the tables yet leaves a tombstone too")
}

// TestLettersOfOthersStay: of another user who has the address by now, and of an
// organization that the person has made; and who has a longer id or address.
func TestLettersOfOthersStay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Emit(testkit.UserAt(1, "user_1"))
	w.Park(testkit.Event("msg_other", "user.updated", testkit.Base, testkit.UserData("user_2", "user_1@example.com", "name", testkit.Base, testkit.Base)), 0)
	made := testkit.OrganizationData("org_1", "name", testkit.Base, testkit.Base)
	made["created_by"] = "user_1"
	w.Park(testkit.Event("msg_org", "organization.created", testkit.Base, made), 0)
	w.Park(testkit.JoinedAt(1, "orgmem_2_1"), 0)
	w.Park(unreadable("msg_longer", `"user_11", "other-user_1@example.com", "user_1_`), 0)
	w.Park(unreadable("msg_broken_line", `"\nuser_1 `), 0)
	w.Park(testkit.UserAt(2, "user_1"), 0)
	events, letters := w.erase("user_1")
	require.Equal(t, []int{1, 2}, []int{events, letters})
	require.Equal(t, []string{"msg_other", "msg_org", "msg_orgmem_2_1_1", "msg_longer"}, testkit.IDs(w.Letters()))
}

// TestLateEventIsErasedToo: it stays stale, whatever its entity, and is erased with the
// next sweep.
func TestLateEventIsErasedToo(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]*clerk.Event{
		"update": testkit.UserAt(9, "user_1"), "delete": testkit.UserDeletedAt(9, "user_1"), "membership": testkit.JoinedAt(9, "orgmem_1_1"),
		"end of a membership": testkit.LeftAt(9, "orgmem_1_2", 2),
	} {
		w := newWorld(t)
		w.Emit(testkit.UserAt(1, "user_1"), testkit.JoinedAt(2, "orgmem_1_2"), testkit.UserDeletedAt(3, "user_1"))
		w.erase("user_1")
		require.Empty(t, w.Events(), name)
		w.Emit(late)
		require.Equal(t, []string{late.ID}, testkit.IDs(w.Events()), name)
		require.False(t, w.erased("user_1"), name)
		require.Empty(t, w.Rows("SELECT clerk_id FROM org_memberships"), name)
		require.Empty(t, w.Rows("SELECT clerk_id FROM active_users"), name)
		w.sweep(t, 0)
		require.Empty(t, w.Events(), name)
		require.True(t, w.erased("user_1"), name)
	}
}

// TestEventDuringTheErasure is not lost sight of: what comes while events are removed,
// and is applied then or after it, is removed as well.
func TestEventDuringTheErasure(t *testing.T) {
	t.Parallel()
	for _, appliedDuring := range []bool{true, false} {
		w := newWorld(t)
		w.Emit(testkit.UserAt(1, "user_1"), testkit.JoinedAt(2, "orgmem_1_1"), testkit.UserDeletedAt(3, "user_1"))
		late := testkit.UserAt(9, "user_1")
		var seq uint64
		e := w.eraser()
		e.SetRemove(func(*eventlog.Message) error {
			if seq == 0 {
				seq = w.Append(late)
				if appliedDuring {
					require.Equal(t, store.Stale, w.Apply(late, seq))
				}
			}
			return nil
		})
		p, err := e.Find(t.Context(), "user_1")
		require.NoError(t, err)
		events, _, err := e.Erase(t.Context(), p)
		require.NoError(t, err)
		require.True(t, w.erased("user_1"))
		if appliedDuring {
			require.Equal(t, 4, events)
			require.Empty(t, w.Events())
			continue
		}
		// Stored after the erasure read the log, it is found once it is applied.
		require.Equal(t, []string{late.ID}, testkit.IDs(w.Events()))
		require.Equal(t, store.Stale, w.Apply(late, seq))
		require.False(t, w.erased("user_1"))
		w.sweep(t, 0)
		require.Empty(t, w.Events())
		require.True(t, w.erased("user_1"))
	}
}

// TestKilledErasureIsFinished by the sweeper, wherever it was: also what is found only
// by an address that the events have told.
func TestKilledErasureIsFinished(t *testing.T) {
	t.Parallel()
	killed := errors.New("killed")
	for steps := 0; ; steps++ {
		w := newWorld(t)
		w.Emit(testkit.UserAt(1, "user_1"), testkit.JoinedAt(2, "orgmem_1_1"), testkit.UserAt(3, "user_1"))
		w.Park(unreadable("msg_x", "user_1@example.com"), 0)
		w.Park(unreadable("msg_y", "user_1@example.com"), 0)
		w.Park(testkit.UserAt(4, "user_1"), 0)
		e := w.eraser()
		left := steps
		e.SetRemove(func(*eventlog.Message) error {
			if left--; left < 0 {
				return killed
			}
			return nil
		})
		p, err := e.Find(t.Context(), "user_1")
		require.NoError(t, err)
		_, _, err = e.Erase(t.Context(), p)
		if err == nil {
			require.Equal(t, 6, steps)
			return
		}
		require.ErrorIs(t, err, killed)
		if h := w.Head("user_1"); !h.Deleted { // not begun: it is simply run again
			w.erase("user_1")
		}
		w.sweep(t, 0)
		require.Empty(t, w.Events(), steps)
		require.Empty(t, w.Letters(), steps)
		require.True(t, w.erased("user_1"), steps)
	}
}

// TestWhoIsRestoredMeanwhileIsNotDeletedAgain: the erasure of a deleted user ends, and
// does not make another erasure.
func TestWhoIsRestoredMeanwhileIsNotDeletedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Emit(testkit.UserAt(1, "user_1"), testkit.UserDeletedAt(2, "user_1"))
	plan, err := (&replay.Restorer{Log: w.Log, Store: w.Store}).Prepare(t.Context(), clerk.KindUser, "user_1")
	require.NoError(t, err)
	e := w.eraser()
	restored := false
	e.SetRemove(func(*eventlog.Message) error {
		if !restored {
			restored = true
			require.NoError(t, (&replay.Restorer{Log: w.Log, Store: w.Store}).Restore(t.Context(), plan))
		}
		return nil
	})
	w.sweepWith(t, e, 0)
	require.True(t, restored)
	require.Equal(t, []string{"user_1@example.com"}, w.Rows("SELECT email FROM active_users"))
}
