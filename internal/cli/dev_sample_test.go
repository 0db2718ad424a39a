package cli

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/signing"
	"github.com/clerksync/clerksync/internal/source"
)

// deliveries is an endpoint that takes what is signed.
type deliveries struct {
	t        *testing.T
	verifier *signing.Verifier
	arrived  chan struct{}
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
	d.arrived <- struct{}{}
	w.WriteHeader(http.StatusNoContent)
}

// TestSampleData: the Backend API answers, and one change after the other arrives, signed.
// The next start goes on with the same people.
func TestSampleData(t *testing.T) {
	t.Parallel()
	secret := signing.NewSecret()
	verifier, err := signing.NewVerifier([]string{secret}, time.Now)
	require.NoError(t, err)
	d := &deliveries{t: t, verifier: verifier, arrived: make(chan struct{}, 100)}
	endpoint := httptest.NewServer(d)
	defer endpoint.Close()
	dir, err := app.OpenDataDir(filepath.Join(t.TempDir(), "data"))
	require.NoError(t, err)
	defer dir.Close()

	var key string
	for range 2 {
		s, err := startSample(dir, "ins_mine")
		require.NoError(t, err)
		require.InDelta(t, samplePeople, len(s.clerk.Users()), 5)
		require.Contains(t, s.welcome(), s.url)
		client := source.NewClient(source.Options{SecretKey: s.clerk.SecretKey(), URL: s.url})
		_, err = client.Instance(t.Context(), "ins_mine")
		require.NoError(t, err)
		client.Close()
		if key != "" {
			require.Equal(t, key, s.clerk.SecretKey())
		}
		key = s.clerk.SecretKey()

		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.run(ctx, endpoint.URL, secret) }()
		<-d.arrived
		stop()
		require.NoError(t, <-ended)
		s.stop()
	}

	require.NoError(t, dir.Write(sampleState, []byte("{")))
	_, err = startSample(dir, "")
	require.ErrorContains(t, err, "read saved instance: ")
	require.Equal(t, "remove sample-clerk.json from the data folder", hintOf(err))
}
