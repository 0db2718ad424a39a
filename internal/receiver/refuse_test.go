package receiver

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
)

// TestUnauthorized: any fault of the signature gives a 401 with a fixed text that names the
// header, and nothing is stored.
func TestUnauthorized(t *testing.T) {
	t.Parallel()
	const (
		noMatch = "svix-signature does not match: is the signing secret that of this endpoint, and does the body arrive unchanged?\n"
		badID   = "svix-id is not of the form that Svix sends\n"
		badTime = "svix-timestamp is not a time in Unix seconds\n"
		tooOld  = "svix-timestamp is more than 5 minutes old: is this machine's clock right?\n"
		tooNew  = "svix-timestamp is more than 5 minutes ahead: is this machine's clock right?\n"
	)
	body := user("user_1")
	at := strconv.FormatInt(now.Unix(), 10)
	good := sign(secretA, "msg_1", at, body)
	mac, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(good, "v1,"))
	signed := func(id, timestamp string) http.Header {
		return http.Header{"Svix-Id": {id}, "Svix-Timestamp": {timestamp}, "Svix-Signature": {sign(secretA, id, timestamp, body)}}
	}
	with := func(signature string) http.Header {
		return http.Header{"Svix-Id": {"msg_1"}, "Svix-Timestamp": {at}, "Svix-Signature": {signature}}
	}
	tests := map[string]struct {
		headers http.Header
		text    string
	}{
		"no headers":   {http.Header{}, "svix-id is missing\n"},
		"no id":        {http.Header{"Svix-Timestamp": {at}, "Svix-Signature": {good}}, "svix-id is missing\n"},
		"no timestamp": {http.Header{"Svix-Id": {"msg_1"}, "Svix-Signature": {good}}, "svix-timestamp is missing\n"},
		"no signature": {http.Header{"Svix-Id": {"msg_1"}, "Svix-Timestamp": {at}}, "svix-signature is missing\n"},

		"empty id":        {signed("", at), "svix-id is missing\n"},
		"empty timestamp": {signed("msg_1", ""), "svix-timestamp is missing\n"},
		"empty signature": {with(""), "svix-signature is missing\n"},
		"blank signature": {with("   "), "svix-signature is missing\n"},

		"id twice": {
			http.Header{"Svix-Id": {"msg_1", "msg_1"}, "Svix-Timestamp": {at}, "Svix-Signature": {good}}, "svix-id stands twice\n",
		},
		"id twice, one empty": {
			http.Header{"Svix-Id": {"msg_1", ""}, "Svix-Timestamp": {at}, "Svix-Signature": {good}}, "svix-id stands twice\n",
		},
		"timestamp twice": {
			http.Header{"Svix-Id": {"msg_1"}, "Svix-Timestamp": {at, at}, "Svix-Signature": {good}}, "svix-timestamp stands twice\n",
		},
		"signature twice": {
			http.Header{"Svix-Id": {"msg_1"}, "Svix-Timestamp": {at}, "Svix-Signature": {good, "v1,eA=="}}, "svix-signature stands twice\n",
		},

		"the names of the standard, mixed": {
			http.Header{"Svix-Id": {"msg_1"}, "Webhook-Timestamp": {at}, "Webhook-Signature": {good}}, "svix-timestamp is missing\n",
		},
		"the names of the standard, too old": {
			http.Header{"Webhook-Id": {"msg_1"}, "Webhook-Timestamp": {"0"}, "Webhook-Signature": {good}},
			"webhook-timestamp is more than 5 minutes old: is this machine's clock right?\n",
		},
		"the names of the standard, another id": {
			http.Header{"Webhook-Id": {"msg_2"}, "Webhook-Timestamp": {at}, "Webhook-Signature": {good}}, noMatch,
		},
		"the names of the standard, id twice": {
			http.Header{"Webhook-Id": {"msg_1", "msg_1"}, "Webhook-Timestamp": {at}, "Webhook-Signature": {good}}, "webhook-id stands twice\n",
		},
		"the names of the standard beside others": {
			http.Header{
				"Webhook-Id": {"msg_1"}, "Webhook-Timestamp": {at}, "Webhook-Signature": {good},
				"Svix-Id": {"msg_9"}, "Svix-Timestamp": {at}, "Svix-Signature": {good},
			},
			noMatch,
		},

		"id too long":       {signed(strings.Repeat("x", 257), at), badID},
		"id with a space":   {signed("msg 1", at), badID},
		"id with a slash":   {signed("msg/1", at), badID},
		"id not ASCII":      {signed("msgé", at), badID},
		"id with a tab":     {signed("msg\t1", at), badID},
		"id with a star":    {signed("msg_*", at), badID},
		"id with a comma":   {signed("msg_1,msg_2", at), badID},
		"id with a percent": {signed("%0d%0a", at), badID},

		"timestamp in milliseconds": {signed("msg_1", at+"000"), tooNew},
		"timestamp with a fraction": {signed("msg_1", at+".0"), badTime},
		"timestamp as a date":       {signed("msg_1", "2026-01-12T09:00:00Z"), badTime},
		"timestamp in hex":          {signed("msg_1", "0x69600000"), badTime},
		"timestamp with underscore": {signed("msg_1", "1_768208400"), badTime},
		"timestamp beyond 64 bits":  {signed("msg_1", "9223372036854775808"), badTime},
		"timestamp of 64 bits":      {signed("msg_1", "9223372036854775807"), tooNew},
		"timestamp negative":        {signed("msg_1", "-"+at), tooOld},
		"timestamp zero":            {signed("msg_1", "0"), tooOld},

		"another secret":     {headers(secretX, "msg_1", now, body), noMatch},
		"another id":         {http.Header{"Svix-Id": {"msg_2"}, "Svix-Timestamp": {at}, "Svix-Signature": {good}}, noMatch},
		"another time":       {http.Header{"Svix-Id": {"msg_1"}, "Svix-Timestamp": {strconv.FormatInt(now.Unix()+1, 10)}, "Svix-Signature": {good}}, noMatch},
		"another body":       {headers(secretA, "msg_1", now, append(body, ' ')), noMatch},
		"parts moved":        {http.Header{"Svix-Id": {"msg_1." + at}, "Svix-Timestamp": {at}, "Svix-Signature": {good}}, noMatch},
		"no version":         {with(strings.TrimPrefix(good, "v1,")), noMatch},
		"version 1a":         {with("v1a" + strings.TrimPrefix(good, "v1")), noMatch},
		"version 2":          {with("v2" + strings.TrimPrefix(good, "v1")), noMatch},
		"upper version":      {with("V1" + strings.TrimPrefix(good, "v1")), noMatch},
		"nothing signed":     {with("v1,"), noMatch},
		"cut off":            {with(good[:len(good)-1]), noMatch},
		"in hex":             {with("v1," + hex.EncodeToString(mac)), noMatch},
		"in URL's base64":    {with("v1," + base64.RawURLEncoding.EncodeToString(mac)), noMatch},
		"only a prefix":      {with("v1," + base64.StdEncoding.EncodeToString(mac[:16])), noMatch},
		"commas for spaces":  {with("v1,eA==," + good), noMatch},
		"signed with no key": {with(sign("whsec_", "msg_1", at, body)), noMatch},
		"signed with the secret's text": {
			with(sign("whsec_"+base64.StdEncoding.EncodeToString([]byte(secretA)), "msg_1", at, body)), noMatch,
		},
	}
	reasons := map[string]string{
		noMatch: "bad_signature", badTime: "bad_timestamp", tooOld: "too_old", tooNew: "too_new", strings.Replace(tooOld, "svix", "webhook", 1): "too_old",
	}
	refused := map[string]float64{}
	e := start(t)
	for name, tc := range tests {
		reason := reasons[tc.text]
		if reason == "" {
			reason = "no_headers"
		}
		refused[reason]++
		t.Run(name, func(t *testing.T) {
			r := e.on(t).post(tc.headers, bytes.NewReader(body))
			require.Equal(t, 401, r.status)
			require.Equal(t, tc.text, r.text)
			require.Equal(t, reason, r.header.Get(ReasonHeader))
			require.Equal(t, "text/plain; charset=utf-8", r.header.Get("Content-Type"))
			require.Equal(t, "nosniff", r.header.Get("X-Content-Type-Options"))
		})
	}
	e.requireStored(0, 0)
	e.requireOutcomes(map[string]float64{"unauthorized": float64(len(tests))})
	require.Equal(t, refused, e.counts("clerksync_refused_total"))
	require.Len(t, refused, 5, "all reasons were tried")
}

// TestTolerance: 5 minutes either way, to the second.
func TestTolerance(t *testing.T) {
	t.Parallel()
	e := start(t)
	body := user("user_1")
	for seconds, want := range map[int]int{-301: 401, -300: 204, -299: 204, 0: 204, 299: 204, 300: 204, 301: 401} {
		h := headers(secretA, "msg_"+strconv.Itoa(seconds), now.Add(time.Duration(seconds)*time.Second), body)
		require.Equal(t, want, e.post(h, bytes.NewReader(body)).status, seconds)
	}
	e.requireStored(5, 0)
	e.requireOutcomes(map[string]float64{"stored": 5, "unauthorized": 2})
}

// TestLongestID: the longest id that Svix allows is accepted.
func TestLongestID(t *testing.T) {
	t.Parallel()
	e := start(t)
	for i, id := range []string{strings.Repeat("x", 256), "a", "A-Z_a.z-09", "msg_2synth0000000000000000001"} {
		require.Equal(t, 204, e.deliver(secretA, id, user("user_1")), id)
		require.Equal(t, id, e.messages("CLERK_EVENTS")[i].Header.Get("Svix-Id"))
	}
}

// TestMethods: a webhook is a POST.
func TestMethods(t *testing.T) {
	t.Parallel()
	e := start(t)
	body := user("user_1")
	methods := []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post", "PROPFIND"}
	for _, method := range methods {
		r, err := e.try(method, headers(secretA, "msg_1", now, body), bytes.NewReader(body))
		require.NoError(t, err)
		require.Equal(t, 405, r.status, method)
		require.Equal(t, "POST", r.header.Get("Allow"), method)
	}
	e.requireStored(0, 0)
	e.requireOutcomes(map[string]float64{"method": float64(len(methods))})
}

// TestUnknownPath: another path is 404 and never a redirect. A delivery gets the right path
// and is counted, all else is not. A slash at the end is no other path.
func TestUnknownPath(t *testing.T) {
	t.Parallel()
	e := start(t)
	body := user("user_1")
	send := func(method, path string, h http.Header) reply {
		req, err := http.NewRequestWithContext(t.Context(), method, e.server.URL+path, bytes.NewReader(body))
		require.NoError(t, err)
		req.Header = h
		resp, err := e.client.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return reply{resp.StatusCode, string(text), resp.Header}
	}
	good := headers(secretA, "msg_1", now, body)
	paths := []string{
		"/", "/api/webhook", "/api/webhooks", clerk.WebhookPath + "//", clerk.WebhookPath + "/x", "/" + clerk.WebhookPath,
		"/api/webhooks/Clerk", "/api/webhooks//clerk", "/api/../api/webhooks/clerk",
	}
	for _, path := range paths {
		r := send("POST", path, good)
		require.Equal(t, 404, r.status, path)
		require.Equal(t, "the webhook endpoint is /api/webhooks/clerk\n", r.text)
		require.Equal(t, "path", r.header.Get(ReasonHeader))
		require.Empty(t, r.header.Get("Location"))

		for method, h := range map[string]http.Header{
			"GET": good, "POST": {"Svix-Id": good["Svix-Id"], "Svix-Timestamp": good["Svix-Timestamp"]},
		} {
			r := send(method, path, h)
			require.Equal(t, 404, r.status, path)
			require.Equal(t, "not found\n", r.text)
			require.Empty(t, r.header.Get("Location"))
		}
	}
	e.requireStored(0, 0)
	e.requireOutcomes(map[string]float64{"path": float64(len(paths))})
	refused := e.receiver.Refused()
	require.Equal(t, "path", refused.Reason)
	require.Equal(t, len(paths), refused.Count)

	require.Equal(t, 204, send("POST", clerk.WebhookPath+"/", good).status)
	require.Equal(t, 204, send("POST", clerk.WebhookPath+"?a=b", good).status)
	require.Nil(t, e.receiver.Refused())
	e.requireStored(1, 0)
}
