package app

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/receiver"
	"github.com/clerksync/clerksync/internal/signing"
)

// patience bounds the waits of these tests.
const patience = 20 * time.Second

// servePublic starts the public server with shorter limits.
func servePublic(t *testing.T, h http.Handler) string {
	t.Helper()
	server := publicServer(h)
	server.ReadHeaderTimeout, server.ReadTimeout, server.IdleTimeout = 100*time.Millisecond, 200*time.Millisecond, 300*time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return l.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// TestEveryStageOfAConnectionHasALimit: no client needs longer than Svix, which gives up
// after 15 s.
func TestEveryStageOfAConnectionHasALimit(t *testing.T) {
	server := publicServer(http.NotFoundHandler())
	for name, limit := range map[string]time.Duration{
		"head":       server.ReadHeaderTimeout,
		"whole":      server.ReadTimeout,
		"answer":     server.WriteTimeout,
		"keep-alive": server.IdleTimeout,
	} {
		require.Greater(t, limit, time.Duration(0), name)
		require.LessOrEqual(t, limit, time.Minute, name)
	}
	require.Less(t, server.ReadTimeout, 15*time.Second)
	require.Greater(t, server.WriteTimeout, server.ReadTimeout+receiver.DefaultDeadline-time.Second, "the answer to a slow log still gets out")
}

func TestSlowHeadIsCutOff(t *testing.T) {
	t.Parallel()
	addr := servePublic(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the request was taken") }))
	conn := dial(t, addr)
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nSvix-Id: msg", clerk.WebhookPath)
	_, err := io.ReadAll(conn) // ends when the server closes the connection
	require.NoError(t, err)
}

func TestSlowBodyIsCutOff(t *testing.T) {
	t.Parallel()
	read := make(chan error, 1)
	addr := servePublic(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		read <- err
	}))
	conn := dial(t, addr)
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{", clerk.WebhookPath)
	_, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Error(t, <-read)
}

func TestIdleConnectionIsClosed(t *testing.T) {
	t.Parallel()
	addr := servePublic(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	conn := dial(t, addr)
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", clerk.WebhookPath)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Contains(t, string(answer), "204 No Content")
}

func TestHeaderFloodIsRefused(t *testing.T) {
	t.Parallel()
	addr := servePublic(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the request was taken") }))
	for name, flood := range map[string]string{
		"one long header": "Svix-Signature: " + strings.Repeat("v1,x ", 10_000) + "\r\n",
		"many headers":    strings.Repeat("X-Flood: 1\r\n", 10_000),
	} {
		conn := dial(t, addr)
		go fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", clerk.WebhookPath, flood)
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err, name)
		require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, answer.StatusCode, name)
	}
}

// TestNeverARedirect: Svix treats a redirect as a failure.
func TestNeverARedirect(t *testing.T) {
	t.Parallel()
	r, err := receiver.New(receiver.Options{Secrets: []string{signing.NewSecret()}, Registry: prometheus.NewRegistry()})
	require.NoError(t, err)
	addr := servePublic(t, r)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for path, want := range map[string]int{
		clerk.WebhookPath:                  http.StatusUnauthorized,
		clerk.WebhookPath + "?a=b":         http.StatusUnauthorized,
		clerk.WebhookPath + "/":            http.StatusUnauthorized,
		"/" + clerk.WebhookPath:            http.StatusNotFound,
		"/api/../api/webhooks/clerk":       http.StatusNotFound,
		"/api/webhooks//clerk":             http.StatusNotFound,
		"/api/webhooks/Clerk":              http.StatusNotFound,
		"/":                                http.StatusNotFound,
		"/metrics":                         http.StatusNotFound,
		"/api/webhooks/clerk/anything":     http.StatusNotFound,
		"/healthz":                         http.StatusNotFound,
		"/api/webhooks/clerk%2f..%2f..%2f": http.StatusNotFound,
	} {
		resp, err := client.Post("http://"+addr+path, "application/json", strings.NewReader("{}"))
		require.NoError(t, err, path)
		resp.Body.Close()
		require.Equal(t, want, resp.StatusCode, path)
	}
}
