package cli

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/signing"
)

// deliveries is an endpoint that takes what is signed, and counts it by type.
type deliveries struct {
	t        *testing.T
	verifier *signing.Verifier

	mu     sync.Mutex
	byType map[string]int
}

func (d *deliveries) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	signature, refusal := d.verifier.ReadHeaders(r.Header)
	if refusal == nil {
		refusal = d.verifier.Verify(signature, body)
	}
	envelope, parseErr := clerk.ParseEnvelope(body)
	if err != nil || refusal != nil || parseErr != nil || envelope.InstanceID != "ins_mine" {
		d.t.Errorf("%v, %v, %v, %s", err, refusal, parseErr, envelope.InstanceID)
	}
	d.mu.Lock()
	d.byType[envelope.Type]++
	d.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// TestSampleData: all of it arrives, signed, then one change after the other, and the
// Backend API answers. The next start goes on with the same people.
func TestSampleData(t *testing.T) {
	t.Parallel()
	secret := signing.NewSecret()
	verifier, err := signing.NewVerifier([]string{secret}, time.Now)
	require.NoError(t, err)
	d := &deliveries{t: t, verifier: verifier}
	endpoint := httptest.NewServer(d)
	defer endpoint.Close()
	dir, err := app.OpenDataDir(filepath.Join(t.TempDir(), "data"))
	require.NoError(t, err)
	defer dir.Close()

	count := func() int {
		d.mu.Lock()
		defer d.mu.Unlock()
		n := 0
		for _, of := range d.byType {
			n += of
		}
		return n
	}
	var key string
	for range 2 {
		d.byType = map[string]int{}
		s, err := startSample(t.Context(), dir, "ins_mine", endpoint.URL, secret)
		require.NoError(t, err)
		people, memberships := len(s.clerk.Users()), len(s.clerk.Memberships())
		require.InDelta(t, samplePeople, people, 5)
		require.Equal(t, map[string]int{
			"user.created": people, "organization.created": sampleOrganizations, "organizationMembership.created": memberships,
		}, d.byType)
		all := count()

		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.run(ctx) }()
		require.Eventually(t, func() bool { return count() > all }, 30*time.Second, 10*time.Millisecond)

		exports := regexp.MustCompile(`CLERK_API_URL=(\S+)\n  export CLERK_SECRET_KEY=(\S+)\n`).FindStringSubmatch(s.welcome())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, exports[1]+"/v1/instance", nil)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+exports[2])
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(req)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		resp.Body.Close()
		require.Contains(t, string(body), `"id":"ins_mine"`)
		if key != "" {
			require.Equal(t, key, exports[2])
		}
		key = exports[2]

		stop()
		require.NoError(t, <-ended)
		s.client.CloseIdleConnections()
	}

	require.NoError(t, dir.Write(sampleState, []byte("{")))
	_, err = startSample(t.Context(), dir, "", endpoint.URL, secret)
	require.ErrorContains(t, err, "read saved instance: ")
	require.Equal(t, "remove sample-clerk.json from the data folder", hintOf(err))
}

// TestSampleDataIsRefused: an endpoint that takes nothing ends the start, and says so.
func TestSampleDataIsRefused(t *testing.T) {
	t.Parallel()
	endpoint := httptest.NewServer(http.NotFoundHandler())
	defer endpoint.Close()
	dir, err := app.OpenDataDir(filepath.Join(t.TempDir(), "data"))
	require.NoError(t, err)
	defer dir.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = startSample(ctx, dir, "", endpoint.URL, signing.NewSecret())
	require.EqualError(t, err, "the endpoint answered with 404 Not Found")
}
