package archive_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/clerksync/clerksync/internal/archive"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/signing"
	"github.com/clerksync/clerksync/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestAdmission(t *testing.T) {
	t.Parallel()
	secret := signing.NewSecret()
	signer, err := signing.NewSigner(secret)
	require.NoError(t, err)
	verifier, err := signing.NewVerifier([]string{secret}, nil)
	require.NoError(t, err)
	signed := func(body string) *archive.Record {
		req, err := signer.Request(t.Context(), "http://localhost", "msg_1", time.Unix(1768208401, 0), []byte(body))
		require.NoError(t, err)
		r := record(body)
		r.Event.Signature = req.Header.Get("Svix-Signature")
		return r
	}
	const body = `{"type":"user.created","instance_id":"ins_1","data":{"id":"user_1"}}`
	checked := archive.Admission{Verifier: verifier, InstanceID: "ins_1"}

	r := signed(body)
	require.NoError(t, checked.Admit(r))
	require.Equal(t, clerk.OriginImport, r.Event.Origin)
	require.Equal(t, "user_1", r.Event.Envelope.EntityID)
	require.NoError(t, (&archive.Admission{}).Admit(record(body)), "trusted, of any instance")

	for _, test := range []struct {
		body   string
		change func(*archive.Record)
		want   string
	}{
		{body, func(r *archive.Record) { r.Event.Signature = "" }, archive.ErrUnsigned.Error()},
		{body, func(r *archive.Record) { r.Event.Body = append(r.Event.Body, ' ') }, archive.ErrSignature.Error()},
		{body, func(r *archive.Record) { r.Event.Envelope.Type = "user.deleted" }, "the type is not that of the body: the line was changed"},
		{body, func(r *archive.Record) { r.Event.ID = "msg 1" }, "Svix-Id is not of the form that Svix sends"},
		{body, func(r *archive.Record) { r.Event.Body = make([]byte, clerk.MaxBody+1) }, "the body is over 1 MiB, which no endpoint takes"},
		{`{"type":"user.created","instance_id":"ins_2","data":{"id":"user_1"}}`, func(*archive.Record) {}, archive.ErrInstance.Error()},
		{`{"type":"user.created","data":{"id":"user_1"}}`, func(*archive.Record) {}, archive.ErrInstance.Error()},
		{`{"type":"user.created","data":{}}`, func(*archive.Record) {}, "the body is not an event that can be stored: no_id: data.id is missing"},
	} {
		r := signed(test.body)
		test.change(r)
		require.EqualError(t, checked.Admit(r), test.want)
	}
}

// TestIngestStoresOnlyNewEvents: a second run finds all events present.
func TestIngestStoresOnlyNewEvents(t *testing.T) {
	t.Parallel()
	log := testkit.OpenLog(t, testkit.Connect(t, testkit.NATS(t)))
	const n = 300 // more than are in flight
	ingest := func(first int) archive.Counts {
		ingest := archive.NewIngest(t.Context(), log)
		for i := first; i < first+n; i++ {
			id := fmt.Sprintf("user_%d", i)
			require.NoError(t, ingest.Add(testkit.Event("msg_"+id, "user.created", 1768208400000, testkit.UserData(id, id+"@example.com", "Ada", 1, 1))))
		}
		require.NoError(t, ingest.Wait())
		return ingest.Counts()
	}
	require.Equal(t, archive.Counts{Stored: n}, ingest(0))
	require.Equal(t, archive.Counts{Present: n}, ingest(0))
	require.Equal(t, archive.Counts{Stored: 100, Present: 200}, ingest(100))
	state, err := log.State(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 400, state.Events)
}

// TestAddedEventsWaitForNoOthers: a pipe can bring one now, and the next tomorrow.
func TestAddedEventsWaitForNoOthers(t *testing.T) {
	t.Parallel()
	log := testkit.OpenLog(t, testkit.Connect(t, testkit.NATS(t)))
	ingest := archive.NewIngest(t.Context(), log)
	for n := range uint64(3) {
		id := fmt.Sprintf("user_%d", n)
		require.NoError(t, ingest.Add(testkit.Event("msg_"+id, "user.created", 1768208400000, testkit.UserData(id, "", "Ada", 1, 1))))
		testkit.Eventually(t, "the event is stored", func() (bool, any) { return ingest.Counts().Stored == n+1, ingest.Counts() })
	}
	require.NoError(t, ingest.Wait())
}

// TestStoreReturnsWhenItsEventsAreStored: calls are independent of each other.
func TestStoreReturnsWhenItsEventsAreStored(t *testing.T) {
	t.Parallel()
	log := testkit.OpenLog(t, testkit.Connect(t, testkit.NATS(t)))
	ingest := archive.NewIngest(t.Context(), log)
	var all errgroup.Group
	for page := range 4 {
		all.Go(func() error {
			var events []*clerk.Event
			for i := range 200 {
				id := fmt.Sprintf("user_%d", page*100+i) // half of them are on the next page too
				events = append(events, testkit.Event("msg_"+id, "user.created", 1768208400000, testkit.UserData(id, "", "Ada", 1, 1)))
			}
			if err := ingest.Store(events); err != nil {
				return err
			}
			for _, e := range events {
				if has, err := log.Holdings().Has(t.Context(), e); err != nil || !has {
					return fmt.Errorf("%s is not stored: %w", e.ID, err)
				}
			}
			return nil
		})
	}
	require.NoError(t, all.Wait())
	require.NoError(t, ingest.Wait())
	require.Equal(t, archive.Counts{Stored: 500, Present: 300}, ingest.Counts())
}

// TestStoreReportsAFailure: also of an event that another call began to store.
func TestStoreReportsAFailure(t *testing.T) {
	t.Parallel()
	log := testkit.OpenLog(t, testkit.Connect(t, testkit.NATS(t)))
	ingest := archive.NewIngest(t.Context(), log)
	event := testkit.Event("msg_1", "user.created", 1768208400000, testkit.UserData("user_1", "", "Ada", 1, 1))
	large := *event
	large.Body = make([]byte, 2<<20)
	require.ErrorIs(t, ingest.Store([]*clerk.Event{&large, event}), eventlog.ErrTooLarge)
	require.ErrorIs(t, ingest.Store([]*clerk.Event{event}), eventlog.ErrTooLarge)
	require.ErrorIs(t, ingest.Wait(), eventlog.ErrTooLarge)
}
