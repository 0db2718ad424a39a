package receiver

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/signing"
)

// recorder is a log that keeps the last event.
type recorder struct{ appended, parked *clerk.Event }

func (r *recorder) Append(_ context.Context, e *clerk.Event) (eventlog.Stored, error) {
	r.appended = e
	return eventlog.Stored{Seq: 1}, nil
}

func (r *recorder) Park(_ context.Context, e *clerk.Event, d eventlog.Death) error {
	if d.Reason == "" || d.Err == nil {
		panic("a dead letter without a reason")
	}
	r.parked = e
	return nil
}

// FuzzReceive: for any headers and body, signed or not, the receiver does not panic, gives
// one of its answers, and stores nothing unsigned.
func FuzzReceive(f *testing.F) {
	ts := strconv.FormatInt(now.Unix(), 10)
	for i, name := range []string{
		"user.created", "user.deleted", "user.deleted--without-id", "organization.updated", "organizationMembership.created", "email.created",
		"session.created", "user.created--other-instance", "user.created--nul-in-name", "user.created--lone-surrogate-in-metadata",
	} {
		f.Add("msg_1", ts, "", file(f, name), byte(i))
	}
	f.Add("msg_1", ts, "", clerk.ProbeBody(now), byte(1))
	f.Add("msg_1", "+"+ts, "", user("user_1"), byte(1))
	f.Add("msg_1", "0"+ts, "v1,x ", user("user_1"), byte(1))
	f.Add("", "", "", []byte(``), byte(0))
	f.Add("msg_1.2", "9223372036854775807", "v1,", []byte(`{"type":"user.created","data":{"id":"a.>"}}`), byte(2))
	f.Add("a b", "-9223372036854775808", "v1,v1,v1 , v1", []byte(`{"type":"email.created","data":{"id":1,"id":2}}`), byte(1))

	log := &recorder{}
	r, err := New(Options{
		Secrets: []string{secretA, secretB}, Log: log, InstanceID: "ins_2synth0000000000000000Demo1", Store: []string{"*"},
		Registry: prometheus.NewRegistry(), testOnlyNow: func() time.Time { return now },
	})
	require.NoError(f, err)

	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte, mode byte) {
		*log = recorder{}
		// Svix signs the timestamp as text.
		canonical, err := strconv.ParseInt(timestamp, 10, 64)
		isTime := err == nil
		switch mode & 3 {
		case 1:
			signature += " " + sign(secretA, id, strconv.FormatInt(canonical, 10), body)
		case 2:
			signature = strings.TrimSpace(sign(secretB, id, strconv.FormatInt(canonical, 10), body) + " " + signature)
		case 3:
			signature += " " + sign(secretX, id, strconv.FormatInt(canonical, 10), body)
		}
		method := http.MethodPost
		if mode&16 != 0 {
			method = http.MethodGet
		}
		req := httptest.NewRequestWithContext(t.Context(), method, clerk.WebhookPath, bytes.NewReader(body))
		if mode&4 != 0 {
			req.ContentLength = -1
		}
		spelling, other := "Svix-", "Webhook-"
		if mode&8 != 0 {
			spelling, other = other, spelling
		}
		req.Header.Set(spelling+"Id", id)
		req.Header.Set(spelling+"Timestamp", timestamp)
		req.Header.Set(spelling+"Signature", signature)
		if mode&32 != 0 { // spellings do not mix
			req.Header.Set(other+"Id", "msg_other")
			req.Header.Set(other+"Signature", sign(secretA, "msg_other", timestamp, body))
		}
		before := string(body)
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)

		require.Contains(t, []int{204, 401, 405, 413}, w.Code)
		require.Equal(t, before, string(body), "the body is not changed")
		signed := method == http.MethodPost && isTime && now.Unix()-canonical <= 300 && canonical-now.Unix() <= 300 &&
			slices.ContainsFunc(strings.Split(signature, " "), func(s string) bool {
				parts := strings.SplitN(s, ",", 3)
				return len(parts) > 1 && slices.Contains([]string{
					sign(secretA, id, strconv.FormatInt(canonical, 10), body), sign(secretB, id, strconv.FormatInt(canonical, 10), body),
				}, parts[0]+","+parts[1])
			})
		if w.Code == 204 {
			require.True(t, signed, "acknowledged, and not signed")
		}
		if signed && signing.ValidID(id) && len(body) <= clerk.MaxBody {
			require.Equal(t, 204, w.Code, "signed, and not acknowledged: %s", w.Body)
		}
		for _, e := range []*clerk.Event{log.appended, log.parked} {
			if e == nil {
				continue
			}
			require.True(t, signed, "kept, and not signed")
			require.Equal(t, 204, w.Code)
			require.Equal(t, before, string(e.Body))
			require.Equal(t, []string{id, timestamp, signature}, []string{e.ID, e.Timestamp, e.Signature})
			require.Len(t, strings.Split(e.Envelope.Subject("p"), "."), 6)
			if resource, _ := clerk.SplitType(clerk.TypeOf(e.Body)); resource == "email" || resource == "sms" {
				_, action := clerk.SplitType(clerk.TypeOf(e.Body))
				require.Empty(t, action, "a message to a person is kept")
			}
		}
		require.False(t, log.appended != nil && log.parked != nil)
		if e := log.appended; e != nil {
			require.NoError(t, e.Envelope.CheckIDs())
			if isProbe := e.Envelope.Type == clerk.ProbeType; isProbe {
				require.Equal(t, clerk.OriginProbe, e.Origin)
			} else {
				require.Equal(t, clerk.OriginWebhook, e.Origin)
				require.Equal(t, "ins_2synth0000000000000000Demo1", e.Envelope.InstanceID)
			}
		}
	})
}
