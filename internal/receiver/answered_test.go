package receiver

import (
	"bytes"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAnswered: each delivery is reported with its answer.
func TestAnswered(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var all []Delivery
	e := start(t, func(o *Options) {
		o.Answered = func(d Delivery) {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, d)
		}
	})
	last := func() Delivery {
		mu.Lock()
		defer mu.Unlock()
		d := all[len(all)-1]
		d.Took = 0
		return d
	}
	body := user("user_1")
	require.Equal(t, 204, e.deliver(secretA, "msg_1", body))
	d := last()
	require.Equal(t, "user_1", d.Event.Envelope.EntityID)
	require.Equal(t, Delivery{Event: d.Event, SvixID: "msg_1", Outcome: "stored", Seq: 1, Status: 204}, d)

	require.Equal(t, 204, e.deliver(secretA, "msg_1", body))
	d = last()
	require.Equal(t, Delivery{Event: d.Event, SvixID: "msg_1", Outcome: "duplicate", Status: 204}, d)

	require.Equal(t, 204, e.deliver(secretA, "msg_2", []byte(`{"type":"user.created"}`)))
	d = last()
	require.Equal(t, "user.created", d.Event.Envelope.Type)
	require.Equal(t, Delivery{Event: d.Event, SvixID: "msg_2", Outcome: "parked", Reason: "no_id", Status: 204}, d)

	require.Equal(t, 204, e.deliver(secretA, "msg_3", event("session.created", `{"id":"sess_1"}`)))
	d = last()
	require.Equal(t, "session.created", d.Event.Envelope.Type)
	require.Equal(t, Delivery{Event: d.Event, SvixID: "msg_3", Outcome: "ignored", Status: 204}, d)

	forged := headers(secretA, "msg_4", now, body)
	r := e.post(forged, bytes.NewReader(user("user_2")))
	require.Equal(t, 401, r.status)
	d = last()
	require.NotEmpty(t, d.Text)
	require.Equal(t, Delivery{SvixID: "msg_4", Outcome: "unauthorized", Reason: "bad_signature", Status: 401, Text: d.Text}, d)
}
