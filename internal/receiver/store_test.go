package receiver

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/signing"
)

// TestStoredAsItCame: the body byte for byte, all headers, the subject.
func TestStoredAsItCame(t *testing.T) {
	t.Parallel()
	e := start(t)
	body := file(t, "organizationMembership.created")
	h := headers(secretA, "msg_2synth.one-1", now, body)
	require.Equal(t, 204, e.post(h, bytes.NewReader(body)).status)

	all := e.messages("CLERK_EVENTS")
	require.Len(t, all, 1)
	require.Equal(t, string(body), string(all[0].Data))
	require.Equal(t, "clerk.events.organizationMembership.created.orgmem_2synth00000000000AdaAtAcme1."+
		"org_2synth0000000000000000Acme1.user_2synth00000000000000000Ada1", all[0].Subject)
	require.Empty(t, cmp.Diff(nats.Header{
		"Nats-Msg-Id":           {"msg_2synth.one-1"},
		"Svix-Id":               {"msg_2synth.one-1"},
		"Svix-Timestamp":        {strconv.FormatInt(now.Unix(), 10)},
		"Svix-Signature":        h["Svix-Signature"],
		"Clerksync-Received-At": {"2026-01-12T09:00:00.426Z"},
		"Clerksync-Event-At":    {"2026-01-12T09:02:30.132Z"}, // 1768208550132
		"Clerksync-Origin":      {"webhook"},
		"Clerksync-Instance-Id": {"ins_2synth0000000000000000Demo1"},
	}, all[0].Header))
	e.requireStored(1, 0)
	e.requireOutcomes(map[string]float64{"stored": 1})
}

// TestHeadersOfTheStandard: the names of Standard Webhooks are taken when Svix's own are not
// all there, as by Svix's libraries. The event is stored under Svix's names and can be
// verified again.
func TestHeadersOfTheStandard(t *testing.T) {
	t.Parallel()
	e := start(t)
	body := user("user_1")
	renamed := func(h http.Header) http.Header {
		return http.Header{"Webhook-Id": h["Svix-Id"], "Webhook-Timestamp": h["Svix-Timestamp"], "Webhook-Signature": h["Svix-Signature"]}
	}
	ours := renamed(headers(secretA, "msg_1", now, body))
	beside := renamed(headers(secretA, "msg_2", now, body)) // beside headers of Svix that are not whole
	beside["Svix-Id"], beside["Svix-Timestamp"], beside["Svix-Signature"] = []string{"msg_9"}, ours["Webhook-Timestamp"], []string{""}
	both := headers(secretB, "msg_3", now, body) // which win
	both["Webhook-Id"], both["Webhook-Timestamp"], both["Webhook-Signature"] = []string{"msg_9"}, ours["Webhook-Timestamp"], []string{"v1,eA=="}
	for i, h := range []http.Header{ours, beside, both} {
		r := e.post(h, bytes.NewReader(body))
		require.Equal(t, 204, r.status, r.text)
		m := e.messages("CLERK_EVENTS")[i]
		id := fmt.Sprintf("msg_%d", i+1)
		require.Equal(t, id, m.Header.Get("Nats-Msg-Id"))
		require.Equal(t, id, m.Header.Get("Svix-Id"))
		require.Empty(t, m.Header.Get("Webhook-Id"))
		require.Nil(t, e.receiver.verifier.Verify(signing.Signature{
			ID: m.Header.Get("Svix-Id"), Timestamp: m.Header.Get("Svix-Timestamp"), Signature: m.Header.Get("Svix-Signature"),
		}, m.Data))
	}
	e.requireOutcomes(map[string]float64{"stored": 3})
}

// TestBodyIsNotTouched: nothing is normalised, not even what PostgreSQL cannot hold.
func TestBodyIsNotTouched(t *testing.T) {
	t.Parallel()
	e := start(t)
	for i, body := range []string{
		"\r\n {\"type\":\"user.created\" ,\"data\":{\"id\":\"user_1\",\"n\":1.0e+02,\"s\":\"\\u0000\\ud800\\/\\u00e9é\xff\"}}\n\n",
		string(file(t, "user.created--nul-in-name")),
	} {
		require.Equal(t, 204, e.deliver(secretA, fmt.Sprintf("msg_%d", i), []byte(body)))
		require.Equal(t, body, string(e.messages("CLERK_EVENTS")[i].Data))
	}
	e.requireStored(2, 0)
}

// TestAnyOfTheSecretsMaySign: and no other.
func TestAnyOfTheSecretsMaySign(t *testing.T) {
	t.Parallel()
	e := start(t)
	require.Equal(t, 204, e.deliver(secretA, "msg_a", user("user_1")))
	require.Equal(t, 204, e.deliver(secretB, "msg_b", user("user_1")))
	require.Equal(t, 401, e.deliver(secretX, "msg_x", user("user_1")))
	e.requireStored(2, 0)
	e.requireOutcomes(map[string]float64{"stored": 2, "unauthorized": 1})
}

// TestSignatureIsOneOfAList: during a rotation Svix sends several signatures, also of
// other schemes.
func TestSignatureIsOneOfAList(t *testing.T) {
	t.Parallel()
	e := start(t)
	for i, list := range []string{"%s v1,bm90IHRoaXM=", "v1,bm90IHRoaXM= %s", "v1a,bm90IHRoaXM= v2,bm90IHRoaXM= %s", "v1, %s"} {
		id, body := fmt.Sprintf("msg_%d", i), user("user_1")
		h := headers(secretB, id, now, body)
		h.Set("Svix-Signature", fmt.Sprintf(list, h.Get("Svix-Signature")))
		require.Equal(t, 204, e.post(h, bytes.NewReader(body)).status, list)
		require.Equal(t, h.Get("Svix-Signature"), e.messages("CLERK_EVENTS")[i].Header.Get("Svix-Signature"), "kept as received")
	}
}

// TestRotationOverlap: during a rotation in Clerk every event arrives twice, with the same
// svix-id and different secrets. It is stored once.
func TestRotationOverlap(t *testing.T) {
	t.Parallel()
	e := start(t)
	require.Equal(t, 204, e.deliver(secretA, "msg_1", user("user_1")))
	require.Equal(t, 204, e.deliver(secretB, "msg_1", user("user_1")))
	e.requireStored(1, 0)
	e.requireOutcomes(map[string]float64{"stored": 1, "duplicate": 1})
}

// TestRotationOverlapAtTheSameTime: both copies of many events meet in one group commit.
func TestRotationOverlapAtTheSameTime(t *testing.T) {
	t.Parallel()
	e := start(t)
	const events = 60
	var all sync.WaitGroup
	failures := make(chan string, 2*events)
	for i := range events {
		id, body := fmt.Sprintf("msg_%d", i), user(fmt.Sprintf("user_%d", i))
		for _, secret := range []string{secretA, secretB} {
			all.Go(func() {
				r, err := e.try("POST", headers(secret, id, now, body), bytes.NewReader(body))
				if err != nil || r.status != 204 {
					failures <- fmt.Sprintf("%s: %d %s %v", id, r.status, r.text, err)
				}
			})
		}
	}
	all.Wait()
	close(failures)
	for f := range failures {
		t.Error(f)
	}
	ids := map[string]int{}
	for _, m := range e.messages("CLERK_EVENTS") {
		ids[m.Header.Get("Svix-Id")]++
	}
	for i := range events {
		require.Equal(t, 1, ids[fmt.Sprintf("msg_%d", i)], "msg_%d", i)
	}
	e.requireStored(events, 0)
	e.requireOutcomes(map[string]float64{"stored": events, "duplicate": events})
}

// TestRetryAfterALostAnswer: the same delivery, signed again.
func TestRetryAfterALostAnswer(t *testing.T) {
	t.Parallel()
	e := start(t)
	body := user("user_1")
	require.Equal(t, 204, e.post(headers(secretA, "msg_1", now, body), bytes.NewReader(body)).status)
	require.Equal(t, 204, e.post(headers(secretA, "msg_1", now.Add(5e9), body), bytes.NewReader(body)).status)
	e.requireStored(1, 0)
	e.requireOutcomes(map[string]float64{"stored": 1, "duplicate": 1})
}

// TestTypesThatAreNotStored: acknowledged and counted.
func TestTypesThatAreNotStored(t *testing.T) {
	t.Parallel()
	e := start(t)
	types := []string{
		"session.created", "email.created", "sms.created", "organizationInvitation.created", "organizationDomain.created", "users.created",
		"User.created", "spaceship.launched", "user/x.created",
	}
	for i, eventType := range types {
		require.Equal(t, 204, e.deliver(secretA, fmt.Sprintf("msg_%d", i), event(eventType, `{"id":"x_1"}`)), eventType)
	}
	// Even a broken one.
	require.Equal(t, 204, e.deliver(secretA, "msg_a", event("session.created", `{"id":"a.b"}`)))
	require.Equal(t, 204, e.deliver(secretA, "msg_b", event("session.created", `{}`)))
	e.requireStored(0, 0)
	e.requireOutcomes(map[string]float64{"ignored": float64(len(types) + 2)})
}

func TestStoreWidened(t *testing.T) {
	t.Parallel()
	e := start(t, func(o *Options) { o.Store = []string{"session.created", "org*"} })
	for eventType, stored := range map[string]bool{
		"session.created": true, "session.ended": false, "organization.created": true, "organizationInvitation.created": true, "user.created": false,
	} {
		before := len(e.messages("CLERK_EVENTS"))
		require.Equal(t, 204, e.deliver(secretA, "msg_"+eventType, event(eventType, `{"id":"org_1"}`)))
		require.Equal(t, stored, len(e.messages("CLERK_EVENTS")) == before+1, eventType)
	}
	require.Equal(t, 204, e.deliver(secretA, "msg_bad", event("organizationDomain.created", `{"id":"a.b"}`)))
	e.requireStored(3, 1)
}

// TestOneTimeCodesAreStoredOnlyWhenNamed: a star does not cover email and sms.
func TestOneTimeCodesAreStoredOnlyWhenNamed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		store      string
		email, sms bool
	}{
		{"*", false, false},
		{"*.*", false, false},
		{"*.created", false, false},
		{"e*.created", false, false},
		{"?mail.*", false, false},
		{"[es]*", false, false},
		{"email.*", true, false},
		{"email.created", true, false},
		{"*,sms.*", false, true},
		{"email.created,sms.created", true, true},
	}
	for _, tc := range tests {
		t.Run(tc.store, func(t *testing.T) {
			t.Parallel()
			e := start(t, func(o *Options) { o.Store = strings.Split(tc.store, ",") })
			require.Equal(t, 204, e.deliver(secretA, "msg_1", file(t, "email.created")))
			require.Equal(t, 204, e.deliver(secretA, "msg_2", file(t, "sms.created")))
			var types []string
			for _, m := range e.messages("CLERK_EVENTS") {
				types = append(types, strings.Split(m.Subject, ".")[2])
			}
			var want []string
			if tc.email {
				want = append(want, "email")
			}
			if tc.sms {
				want = append(want, "sms")
			}
			require.Equal(t, want, types)
			require.Empty(t, e.messages("CLERK_DEAD"))
		})
	}
}

// TestBrokenMessagesToPeopleAreNotParked: they may contain a one-time code, so they are not
// kept where another event would be.
func TestBrokenMessagesToPeopleAreNotParked(t *testing.T) {
	t.Parallel()
	e := start(t, func(o *Options) { o.Store = []string{"*"} })
	for i, body := range []string{
		`{"data":{"id":"ema_1","data":{"otp_code":"123456","otp_code":"123456"}},"type":"email.created"}`,
		`{"data":{"id":"ema_1","id":"ema_1"},"type":"email.created"}`,
		`{"data":{"id":"ema_1"},"timestamp":1,"timestamp":2,"type":"email.created"}`,
		`{"data":{"id":"ema_1"},"timestamp":"x","type":"email.created"}`,
		`{"data":{"id":7},"type":"sms.created"}`,
		`{"data":[],"type":"sms.created"}`,
		`{"data":{"id":"a.b"},"type":"sms.created"}`,
		`{"data":{},"type":"sms.created"}`,
		`{"data":{"id":"ema_1"},"type":"email.created"} trailing`,
		`{"type":"email.created","data":{"otp_code":"1234`,
	} {
		require.Equal(t, 204, e.deliver(secretA, fmt.Sprintf("msg_%d", i), []byte(body)), body)
		e.requireStored(0, 0)
	}
	e.requireOutcomes(map[string]float64{"ignored": 10})
}
