package receiver

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
)

// TestWhatCanNeverBeAppliedIsParked: durably, with its reason, and answered with success,
// because sending it again would not help.
func TestWhatCanNeverBeAppliedIsParked(t *testing.T) {
	t.Parallel()
	e := start(t)
	reasons := map[string]float64{}
	tests := []struct{ body, subject, reason string }{
		{`hello ` + content, "clerk.dead.-.-.-.-.-", "undecodable"},
		{``, "clerk.dead.-.-.-.-.-", "undecodable"},
		{`[]`, "clerk.dead.-.-.-.-.-", "undecodable"},
		{`{"type":"user.created","data":{"id":"user_1"`, "clerk.dead.-.-.-.-.-", "undecodable"},
		{`{"type":"user.created","data":{"id":"user_1","id":"user_2"}}`, "clerk.dead.-.-.-.-.-", "undecodable"},
		{
			`{"type":"user.created","data":{"id":"user_1","public_metadata":{"a":[{"` + content + `":1,"` + content + `":2}]}}}`,
			"clerk.dead.-.-.-.-.-", "undecodable",
		},
		{`{"type":"user.created","data":{"id":"user_1"}}{}`, "clerk.dead.-.-.-.-.-", "undecodable"},
		{`{"data":{"id":"user_1"}}`, "clerk.dead.-.-.user_1.-.-", "no_type"},
		{`{"type":"user","data":{"id":"user_1"}}`, "clerk.dead.user.-.user_1.-.-", "no_type"},
		{`{"type":"user.deleted","data":{"deleted":true}}`, "clerk.dead.user.deleted.-.-.-", "no_id"},
		{`{"type":"user.created"}`, "clerk.dead.user.created.-.-.-", "no_id"},
		{`{"type":"user.created","data":{"id":"user_1.>"}}`, "clerk.dead.user.created.-.-.-", "unusable_id"},
		{`{"type":"user.created","data":{"id":"` + strings.Repeat("x", 129) + `"}}`, "clerk.dead.user.created.-.-.-", "unusable_id"},
		{`{"type":"user.created","data":{"id":"org_1"}}`, "clerk.dead.user.created.org_1.-.org_1", "unusable_id"},
		{`{"type":"organization.deleted","data":{"id":"1"}}`, "clerk.dead.organization.deleted.1.1.-", "unusable_id"},
		{`{"type":"user.*","data":{"id":"user_1"}}`, "clerk.dead.user.-.user_1.-.user_1", "unusable_id"},
		{`{"type":"user.created.again","data":{"id":"user_1"}}`, "clerk.dead.user.-.user_1.-.user_1", "unusable_id"},
		{
			`{"type":"organizationMembership.created","data":{"id":"orgmem_1","organization":{"id":"*"},"public_user_data":{"user_id":"user_1"}}}`,
			"clerk.dead.organizationMembership.created.orgmem_1.-.user_1", "unusable_id",
		},
	}
	for i, tc := range tests {
		t.Run(fmt.Sprintf("%d %s", i, tc.reason), func(t *testing.T) {
			e := e.on(t)
			id, body := fmt.Sprintf("msg_%d", i), []byte(tc.body)
			h := headers(secretA, id, now, body)
			before := time.Now().UTC().Truncate(time.Millisecond)
			require.Equal(t, 204, e.post(h, bytes.NewReader(body)).status)
			reasons[tc.reason]++

			all := e.messages("CLERK_DEAD")
			require.Len(t, all, i+1)
			letter := all[i]
			require.Equal(t, tc.body, string(letter.Data), "the body byte for byte")
			require.Equal(t, tc.subject, letter.Subject)

			text := letter.Header.Get("Clerksync-Dead-Error")
			require.True(t, strings.HasPrefix(text, tc.reason+": "), text)
			require.NotContains(t, text, content)
			at, err := time.Parse(time.RFC3339, letter.Header.Get("Clerksync-Dead-At"))
			require.NoError(t, err)
			require.WithinRange(t, at, before, time.Now())
			require.Equal(t, letter.Header.Get("Clerksync-Dead-At"), letter.Header.Get("Clerksync-Dead-First-At"))
			for _, checked := range []string{"Nats-Msg-Id", "Clerksync-Dead-Error", "Clerksync-Dead-At", "Clerksync-Dead-First-At"} {
				letter.Header.Del(checked)
			}
			require.Empty(t, cmp.Diff(nats.Header{
				"Svix-Id":                 {id},
				"Svix-Timestamp":          {strconv.FormatInt(now.Unix(), 10)},
				"Svix-Signature":          h["Svix-Signature"],
				"Clerksync-Received-At":   {"2026-01-12T09:00:00.426Z"},
				"Clerksync-Event-At":      {"1970-01-01T00:00:00.000Z"}, // these do not say
				"Clerksync-Origin":        {"webhook"},
				"Clerksync-Dead-Reason":   {tc.reason},
				"Clerksync-Dead-Attempts": {"1"},
				"Clerksync-Dead-Seq":      {"0"},
			}, letter.Header))
		})
	}
	e.requireStored(0, len(tests))
	e.requireOutcomes(map[string]float64{"parked": float64(len(tests))})
	require.Equal(t, reasons, e.counts("clerksync_receiver_dead_letters_total"))
	require.Contains(t, e.logs.String(), `"reason":"undecodable"`)
}

// TestParkedOnce: however often it is delivered.
func TestParkedOnce(t *testing.T) {
	t.Parallel()
	e := start(t)
	require.Equal(t, 204, e.deliver(secretA, "msg_1", []byte(`{}`)))
	require.Equal(t, 204, e.deliver(secretB, "msg_1", []byte(`{}`)))
	e.requireStored(0, 1)
}

// TestWrongInstance: with an instance configured, events of another or of none are parked,
// unless their type is not stored.
func TestWrongInstance(t *testing.T) {
	t.Parallel()
	e := start(t, func(o *Options) { o.InstanceID = "ins_2synth0000000000000000Demo1" })
	const wanted = "ins_2synth0000000000000000Demo1"
	require.Equal(t, 204, e.deliver(secretA, "msg_1", file(t, "user.created")))
	e.requireStored(1, 0)
	unreadable := bytes.Replace(file(t, "user.created"), []byte(wanted), []byte(`ins\n`+content), 1)
	for i, tc := range []struct {
		body []byte
		came string
	}{
		{file(t, "user.created--other-instance"), "ins_2synth00000000SomebodyElse1"},
		{file(t, "user.created--no-instance-id"), "none"},
		{file(t, "user.created--send-example"), "ins_2synth00000000SomebodyElse1"},
		{file(t, "user.created--minimal-envelope"), "none"},
		{unreadable, "unreadable"},
	} {
		require.Equal(t, 204, e.deliver(secretA, fmt.Sprintf("msg_p%d", i), tc.body))
		e.requireStored(1, i+1)
		letter := e.messages("CLERK_DEAD")[i]
		require.Equal(t, "wrong_instance", letter.Header.Get("Clerksync-Dead-Reason"))
		require.Equal(t, "wrong_instance: of instance "+tc.came+", wanted "+wanted, letter.Header.Get("Clerksync-Dead-Error"))
		require.Equal(t, string(tc.body), string(letter.Data))
	}
	// These are of no instance, and say nothing.
	require.Equal(t, 204, e.deliver(secretA, "msg_session", event("session.created", `{"id":"sess_1"}`)))
	require.Equal(t, 204, e.deliver(secretA, "msg_probe", clerk.ProbeBody(now)))

	require.Equal(t, 204, e.deliver(secretA, "msg_2", file(t, "user.updated")))
	e.requireStored(3, 5)
	e.requireOutcomes(map[string]float64{"stored": 3, "parked": 5, "ignored": 1})
	require.Equal(t, map[string]float64{"wrong_instance": 5}, e.counts("clerksync_receiver_dead_letters_total"))
}

// TestAnyInstance: with none configured, all are accepted.
func TestAnyInstance(t *testing.T) {
	t.Parallel()
	e := start(t)
	for _, name := range []string{"user.created", "user.created--other-instance", "user.created--no-instance-id"} {
		require.Equal(t, 204, e.deliver(secretA, "msg_"+name, file(t, name)))
	}
	e.requireStored(3, 0)
}

// TestAKnownTypeIsNotGuessed: events of people are full of words that messages have too.
func TestAKnownTypeIsNotGuessed(t *testing.T) {
	t.Parallel()
	bodies := []string{
		`{"data":{"id":"user_1","id":"user_2","email_addresses":[{"email":"ada@example.com"}],"object":"email"},"type":"user.created"}`,
		`{"data":{"id":7,"sms":"sms"},"object":"event","type":"user.updated"}`,
		`{"type":"user.created","timestamp":"x","data":{"id":"user_1","public_metadata":{"otp_code":1,"body_plain":1,"email":"sms"}}}`,
		`{"type":"organization.created","data":{"id":"org_1","name":"sms","email":"email.created"`,
		`{"type":"user","data":{"id":"user_1","email":"ada@example.com"}}`,
	}
	e := start(t)
	for i, body := range bodies {
		require.Equal(t, 204, e.deliver(secretA, fmt.Sprintf("msg_%d", i), []byte(body)), body)
		e.requireStored(0, i+1)
	}
	e.requireOutcomes(map[string]float64{"parked": float64(len(bodies))})
}

// TestUnreadableMessagesAreNotKept: a broken e-mail may still contain its one-time code.
func TestUnreadableMessagesAreNotKept(t *testing.T) {
	t.Parallel()
	whole := `{"data":{"body":"your code is 424242","body_plain":"your code is 424242","data":{"otp_code":"424242"},"delivered_by_clerk":true,"id":"ema_1","object":"email"},"object":"event","timestamp":1768208400426,"type":"email.created"}`
	bodies := map[string]string{
		"cut off before its type": whole[:strings.Index(whole, `,"timestamp"`)],
		"cut off in its data":     whole[:strings.Index(whole, `,"delivered`)],
		"two types":               `{"type":"user.created","type":"email.created","data":{"body":"424242"}}`,
		"two types, one twice":    `{"type":"user.created","type":"user.created","type":"sms.created","data":{"body":"424242"}}`,
		"half a type":             `{"type":"email","data":{"body":"424242"}}`,
		"an empty action":         `{"type":"email.","data":{"body":"424242"}}`,
	}
	e := start(t)
	for name, body := range bodies {
		require.Equal(t, 204, e.deliver(secretA, "msg_1", []byte(body)), name)
	}
	e.requireStored(0, 0)
}
