package receiver

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
)

// sized returns an event with a body of n bytes.
func sized(n int) []byte {
	body := event("user.created", `{"id":"user_1","first_name":""}`)
	return bytes.Replace(body, []byte(`"first_name":"`), []byte(`"first_name":"`+strings.Repeat("x", n-len(body))), 1)
}

// chunked hides the size of a body, so that it is sent in chunks.
type chunked struct{ io.Reader }

// TestOversize: 1 MiB is accepted and a byte more is not, whether or not the size is
// announced.
func TestOversize(t *testing.T) {
	t.Parallel()
	e := start(t)
	limits := map[int]int{
		300: 204, 64 << 10: 204, 64<<10 + 1: 204, 350_000: 204, 1 << 20: 204, 1<<20 + 1: 413, 3 << 20: 413,
	}
	stored := 0
	for n, want := range limits {
		body := sized(n)
		require.Len(t, body, n)
		for i, reader := range []io.Reader{bytes.NewReader(body), chunked{bytes.NewReader(body)}} {
			r := e.post(headers(secretA, fmt.Sprintf("msg_%d_%d", n, i), now, body), reader)
			require.Equal(t, want, r.status, "%d bytes: %s", n, r.text)
			if want == 413 {
				require.Equal(t, "the body is over 1 MiB\n", r.text)
				continue
			}
			all := e.messages("CLERK_EVENTS")
			require.Equal(t, string(body), string(all[stored].Data), "%d bytes", n)
			stored++
		}
	}
	e.requireStored(10, 0)
	e.requireOutcomes(map[string]float64{"stored": 10, "too_large": 4})
}

// TestOversizeAnnounced: refused by its Content-Length, before the body is read.
func TestOversizeAnnounced(t *testing.T) {
	t.Parallel()
	e := start(t)
	conn, err := net.Dial("tcp", e.server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\n", clerk.WebhookPath)
	require.NoError(t, headers(secretA, "msg_1", now, nil).Write(conn))
	fmt.Fprintf(conn, "Content-Length: %d\r\n\r\n", clerk.MaxBody+1)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 413, resp.StatusCode)
	e.requireOutcomes(map[string]float64{"too_large": 1})
}

// TestOversizeUnsigned: the body is not read.
func TestOversizeUnsigned(t *testing.T) {
	t.Parallel()
	e := start(t)
	r := e.post(http.Header{}, bytes.NewReader(sized(1<<20+1)))
	require.Equal(t, 401, r.status)
}

// TestBodyCutOff: an incomplete body is refused, not parked as undecodable.
func TestBodyCutOff(t *testing.T) {
	t.Parallel()
	e := start(t)
	for name, framing := range map[string]string{
		"announced":       "Content-Length: 900\r\n\r\n",
		"announced large": "Content-Length: 500000\r\n\r\n",
		"chunked":         "Transfer-Encoding: chunked\r\n\r\n8000\r\n",
		"broken chunk":    "Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			body := user("user_1")
			conn, err := net.Dial("tcp", e.server.Listener.Addr().String())
			require.NoError(t, err)
			defer conn.Close()
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\n", clerk.WebhookPath)
			require.NoError(t, headers(secretA, "msg_1", now, body).Write(conn))
			_, err = io.WriteString(conn, framing+string(body))
			require.NoError(t, err)
			require.NoError(t, conn.(*net.TCPConn).CloseWrite())
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, 400, resp.StatusCode)
			require.Equal(t, "the body did not arrive whole\n", string(text))
		})
	}
	e.requireStored(0, 0)
	e.requireOutcomes(map[string]float64{"broken": 4})
}
