package app_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestAlerts: every process with a URL has the part that sends them.
func TestAlerts(t *testing.T) {
	t.Parallel()
	const series = `clerksync_alerts_total{result="sent"} 0`
	_, text := get(t, start(t, options(t, database(testkit.DatabaseURL(t)))).AdminURL+"/metrics", "")
	require.NotContains(t, text, series)
	_, text = get(t, start(t, options(t, database(testkit.DatabaseURL(t)), func(o *app.Options) {
		o.Config.AlertURL = "https://example.org/hidden"
	})).AdminURL+"/metrics", "")
	require.Contains(t, text, series)
}
