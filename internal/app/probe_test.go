package app_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestProbesGoThroughThePublicURL: here, that of a proxy.
func TestProbesGoThroughThePublicURL(t *testing.T) {
	t.Parallel()
	var target atomic.Pointer[url.URL]
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target.Load()) }})
	t.Cleanup(proxy.Close)
	target.Store(&url.URL{Scheme: "http", Host: "127.0.0.1:1"}) // until the receiver is there
	a := start(t, options(t, database(testkit.DatabaseURL(t)), func(o *app.Options) {
		o.Config.ProbeURL, o.Config.ProbeEvery = proxy.URL+clerk.WebhookPath, 20*time.Millisecond
	}))
	endpoint, err := url.Parse(a.Endpoint)
	require.NoError(t, err)
	target.Store(&url.URL{Scheme: "http", Host: endpoint.Host})
	testkit.Eventually(t, "a probe has passed", func() (bool, any) {
		status, text := get(t, a.AdminURL+"/metrics", "")
		return status == http.StatusOK && strings.Contains(text, "clerksync_probe_last_success_timestamp_seconds ") &&
			strings.Contains(text, `clerksync_probe_duration_seconds{hop="total"} `), text
	})
}
