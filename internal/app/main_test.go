package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/testkit"
)

// holdVariable makes this test binary a process that holds a data folder.
const holdVariable = "CLERKSYNC_TEST_HOLD_DATA_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holdVariable); dir != "" {
		hold(dir)
	}
	testkit.Main(m)
}

// secret is a signing secret.
const secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

// options returns the options of a serve with all roles.
func options(t *testing.T, change ...func(*app.Options)) app.Options {
	t.Helper()
	c := config.Default()
	c.Receiver.Addr, c.Admin.Addr = "127.0.0.1:0", "127.0.0.1:0"
	c.SigningSecrets = []config.Secret{secret}
	c.Appliers, c.Batch = 2, 100
	o := app.Options{
		Config: c, Command: "serve", Version: "test", Logger: slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&o)
	}
	if o.Roles == 0 {
		o.Roles = o.Config.EveryRole()
	}
	if o.DataDir == nil && o.Config.NATSURL == "" {
		dir, err := app.OpenDataDir(filepath.Join(t.TempDir(), "data"))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, dir.Close()) })
		o.DataDir = dir
	}
	return o
}

func start(t *testing.T, o app.Options) *app.App {
	t.Helper()
	a, err := app.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Stop()) })
	return a
}

// get sends a request to the admin listener.
func get(t *testing.T, url, authorization string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	req.Close = true
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text)
}

// readiness reads /readyz.
func readiness(t *testing.T, a *app.App) (status int, checks map[string]string) {
	t.Helper()
	status, body := get(t, a.AdminURL+"/readyz", "")
	var answer struct {
		Ready  bool              `json:"ready"`
		Checks map[string]string `json:"checks"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &answer))
	require.Equal(t, answer.Ready, status == 200)
	return status, answer.Checks
}

// takeAway makes a database unreachable until bringBack is called.
func takeAway(t *testing.T, databaseURL string) (bringBack func()) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	require.NoError(t, err)
	name := u.Path[1:]
	u.Path = "/postgres"
	conn, err := pgx.Connect(t.Context(), u.String())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close(context.Background())) })
	_, err = conn.Exec(t.Context(), "ALTER DATABASE "+name+" ALLOW_CONNECTIONS false")
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
	require.NoError(t, err)
	return func() {
		_, err := conn.Exec(t.Context(), "ALTER DATABASE "+name+" ALLOW_CONNECTIONS true")
		require.NoError(t, err)
	}
}

// hold locks a data folder, prints that, and keeps it until it is killed.
func hold(dir string) {
	d, err := app.OpenDataDir(dir)
	if err == nil {
		err = d.Announce(app.Running{Command: "serve", Endpoint: "http://127.0.0.1:1/api/webhooks/clerk"})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("held")
	io.Copy(io.Discard, os.Stdin) // its end is our parent's
	os.Exit(0)
}
