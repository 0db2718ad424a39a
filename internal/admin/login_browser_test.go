//go:build browser

package admin_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// TestLoginByLinkInTheBrowser: the link of clerksync dashboard opens the page. Its code is
// in no entry of the tab's history, and a second use says what to do.
func TestLoginByLinkInTheBrowser(t *testing.T) {
	s := newScene(t, withReadings)
	b := newBrowser(t)
	const loggedIn = `document.querySelector('[name="clerksync-action"]') !== null`
	code := s.code()
	link := s.url("127.0.0.1") + "login/link#" + code
	page := filepath.Join(t.TempDir(), "dashboard.html") // as the command makes it: the way here is cross-site
	require.NoError(t, os.WriteFile(page, []byte(`<meta http-equiv="refresh" content="0; url=`+link+`">`), 0o600))
	b.open("file://" + page)
	b.await(`location.pathname`, `"/"`)
	b.await(loggedIn, "true")
	history, err := chromedp.Run(b.ctx, chromedp.NavigationEntries())
	require.NoError(t, err)
	require.NotEmpty(t, history.Entries)
	for _, entry := range history.Entries {
		require.NotContains(t, entry.URL, code)
	}
	require.Empty(t, b.said())

	b.open(link)
	b.await(text("#fault"), `"this link was used before, or is older than 5 minutes: clerksync dashboard prints a new one"`)
	require.Equal(t, `"/login"`, b.eval(`location.pathname + location.hash`))
	b.said() // the browser logs the 401
	b.open(s.url("127.0.0.1"))
	b.await(loggedIn, "true")
	require.Empty(t, b.said(), "the session goes on")
}
