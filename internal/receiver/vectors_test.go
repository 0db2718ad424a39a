package receiver

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The published test vectors of Svix.

func vector(id, timestamp, signature string) http.Header {
	return http.Header{"Svix-Id": {id}, "Svix-Timestamp": {timestamp}, "Svix-Signature": {signature}}
}

func at(unix int64) func(*Options) {
	return func(o *Options) { o.testOnlyNow = func() time.Time { return time.Unix(unix, 0) } }
}

// TestVector1: verified. It has no type, so it is parked.
func TestVector1(t *testing.T) {
	t.Parallel()
	e := start(t, at(1614265330), func(o *Options) { o.Secrets = []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"} })
	h := vector("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	const body = `{"test": 2432232314}`

	require.Equal(t, 204, e.post(h.Clone(), strings.NewReader(body)).status)
	letters := e.messages("CLERK_DEAD")
	require.Len(t, letters, 1)
	require.Equal(t, body, string(letters[0].Data))
	require.Equal(t, "no_type", letters[0].Header.Get("Clerksync-Dead-Reason"))

	require.Equal(t, 401, e.post(h.Clone(), strings.NewReader(`{"test":2432232314}`)).status, "written otherwise")
	e.requireStored(0, 1)
}

// TestVector3: an ed25519 signature, which Clerk does not use, is refused.
func TestVector3(t *testing.T) {
	t.Parallel()
	e := start(t, at(1614265330), func(o *Options) { o.Secrets = []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"} })
	const id, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", `{"test": 2432232314}`
	const ed25519 = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="

	r := e.post(vector(id, "1614265330", ed25519), strings.NewReader(body))
	require.Equal(t, 401, r.status)
	require.True(t, strings.HasPrefix(r.text, "svix-signature does not match"), r.text)
	e.requireStored(0, 0)

	both := ed25519 + " v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	require.Equal(t, 204, e.post(vector(id, "1614265330", both), strings.NewReader(body)).status, "beside one that is right")
	e.requireStored(0, 1)
}

// TestVectorsAreOld: today they are replay attacks.
func TestVectorsAreOld(t *testing.T) {
	t.Parallel()
	e := start(t, func(o *Options) {
		o.Secrets, o.testOnlyNow = []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, nil
	})
	h := vector("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	require.Equal(t, 401, e.post(h, strings.NewReader(`{"test": 2432232314}`)).status)
	e.requireStored(0, 0)
}
