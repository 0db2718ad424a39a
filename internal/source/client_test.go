package source_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/source"
)

// transport answers requests without a network, for a clock that is not real.
type transport func(*http.Request) *http.Response

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

func answer(status int, body string, headers ...string) *http.Response {
	r := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

const instance = `{"object":"instance","id":"ins_1"}`

// TestRateLimit: the client uses at least 95 % of what Clerk allows, and in no window of
// ten seconds more.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		key   string
		rate  int
		limit int
	}{{"sk_live_1", 0, 1000}, {"sk_test_1", 0, 100}, {"sk_live_1", 300, 300}, {"sk_live_1", 10, 10}, {"sk_live_1", 7, 7}, {"sk_live_1", 1, 1}} {
		t.Run(fmt.Sprintf("%s %d", test.key, test.rate), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var sent []time.Time
				c := source.NewClient(source.Options{SecretKey: test.key, URL: "https://clerk.test", Rate: test.rate, Transport: transport(func(*http.Request) *http.Response {
					mu.Lock()
					defer mu.Unlock()
					sent = append(sent, time.Now())
					return answer(http.StatusOK, instance)
				})})
				const lasts = 100 * time.Second
				started := time.Now()
				var callers sync.WaitGroup
				for range 20 {
					callers.Go(func() {
						for time.Since(started) < lasts {
							_, err := c.Instance(t.Context(), "")
							require.NoError(t, err)
						}
					})
				}
				callers.Wait()
				first := 0
				for i, at := range sent {
					for at.Sub(sent[first]) >= 10*time.Second {
						first++
					}
					require.LessOrEqual(t, i-first+1, test.limit, "after %s", at.Sub(sent[0]))
				}
				require.GreaterOrEqual(t, float64(len(sent)), float64(test.limit)*10*0.95)
			})
		})
	}
}

// TestRetryAfter: after a 429 nothing is sent for as long as Clerk says, by any caller.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var refused atomic.Pointer[time.Time]
		var n atomic.Int64
		c := source.NewClient(source.Options{SecretKey: "sk_live_1", URL: "https://clerk.test", Transport: transport(func(*http.Request) *http.Response {
			if n.Add(1) == 1 {
				now := time.Now()
				refused.Store(&now)
				return answer(http.StatusTooManyRequests, "", "Retry-After", "7")
			}
			if at := refused.Load(); time.Since(*at) < 7*time.Second {
				t.Errorf("a request %s after the refusal", time.Since(*at))
			}
			return answer(http.StatusOK, instance)
		})})
		_, err := c.Instance(t.Context(), "")
		require.NoError(t, err)
		var callers sync.WaitGroup
		for range 5 {
			callers.Go(func() { c.Instance(t.Context(), "") })
		}
		callers.Wait()
		require.GreaterOrEqual(t, time.Since(*refused.Load()), 7*time.Second)
	})
}

// TestGivesUp: after eight attempts, or at once when another would not help; no error has
// the key, or a text of the answer.
func TestGivesUp(t *testing.T) {
	t.Parallel()
	const secret = "sk_live_verysecret"
	for name, test := range map[string]struct {
		answer func() *http.Response
		want   string
		sent   int64
	}{
		"always limited": {
			func() *http.Response {
				return answer(429, `{"errors":[{"code":"too_many_requests","message":"`+secret+`"}]}`, "Retry-After", "1")
			},
			"Clerk answered GET /instance with 429 too_many_requests, 8 times", 8,
		},
		"limited for a day": {
			func() *http.Response { return answer(429, "", "Retry-After", "86400") },
			"Clerk answered GET /instance with 429, and asks to wait for 24h0m0s", 1,
		},
		"limited without a time": {func() *http.Response { return answer(429, "") }, "Clerk answered GET /instance with 429, 8 times", 8},
		"broken":                 {func() *http.Response { return answer(500, secret) }, "Clerk answered GET /instance with 500, 8 times", 8},
		"maintenance":            {func() *http.Response { return answer(503, "", "Retry-After", "20") }, "Clerk answered GET /instance with 503, 8 times", 8},
		"unprocessable":          {func() *http.Response { return answer(422, `{"errors":[{"code":"`+strings.Repeat("x", 500)+`"}]}`) }, "Clerk answered GET /instance with 422", 1},
		"moved":                  {func() *http.Response { return answer(302, "", "Location", "https://elsewhere.test/") }, "Clerk answered GET /instance with 302", 1},
		"cut off":                {func() *http.Response { return answer(200, `{"id":"`+secret) }, "GET /instance: the answer is cut off, or not JSON, 8 times", 8},
		"HTML":                   {func() *http.Response { return answer(200, `<html>`) }, "GET /instance: the answer is cut off, or not JSON, 8 times", 8},
		"endless": {func() *http.Response {
			r := answer(200, "")
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"id":"`), endless{}))
			return r
		}, "GET /instance: the answer is larger than 64 MB", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var sent atomic.Int64
				c := source.NewClient(source.Options{SecretKey: secret, URL: "https://clerk.test", Transport: transport(func(r *http.Request) *http.Response {
					sent.Add(1)
					require.Equal(t, "Bearer "+secret, r.Header.Get("Authorization"))
					require.Equal(t, "https://clerk.test/v1/instance", r.URL.String())
					return test.answer()
				})})
				started := time.Now()
				_, err := c.Instance(t.Context(), "")
				require.EqualError(t, err, test.want)
				require.Equal(t, test.sent, sent.Load())
				require.Less(t, time.Since(started), 5*time.Minute)
			})
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// TestNoAnswer: a request that hangs is given up and sent again; a context that ends ends
// it at once; an address that nobody listens on is an error without the address's secrets.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Int64
		c := source.NewClient(source.Options{SecretKey: "sk_live_1", URL: "https://clerk.test", Transport: hanging{&sent}})
		_, err := c.Instance(t.Context(), "")
		require.EqualError(t, err, "GET /instance: no whole answer within 1m0s, 8 times")
		require.EqualValues(t, 8, sent.Load())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.Instance(ctx, "")
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
	server := httptest.NewServer(nil)
	server.Close()
	c := source.WithoutPauses(source.NewClient(source.Options{SecretKey: "sk_live_1", URL: server.URL}))
	_, err := c.Instance(t.Context(), "")
	require.ErrorContains(t, err, "GET /instance: dial tcp ")
	require.ErrorContains(t, err, "connection refused, 8 times")
}

// TestTimeIsUp: an error that ends with the time of its caller has the cause as well.
func TestTimeIsUp(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status int
		want   string
	}{
		{500, "Clerk answered GET /instance with 500, 3 times: context deadline exceeded"},
		{429, "Clerk answered GET /instance with 429, 1 times: context deadline exceeded"},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := source.NewClient(source.Options{SecretKey: "sk_live_1", URL: "https://clerk.test", Transport: transport(func(*http.Request) *http.Response { return answer(test.status, "") })})
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			_, err := c.Instance(ctx, "")
			require.EqualError(t, err, test.want)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
	}
}

type hanging struct{ sent *atomic.Int64 }

func (h hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	h.sent.Add(1)
	<-r.Context().Done()
	return nil, r.Context().Err()
}
