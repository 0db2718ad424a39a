package doctor

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestProcess: the check of the running clerksync.
func TestProcess(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		code   int
		answer string
		want   Check
	}{
		"ready": {200, `{"ready":true,"checks":{"event_log":"ok","postgresql":"ok"}}`, Check{"process", OK, "clerksync serve (process 7) is ready", ""}},
		"ready without PostgreSQL": {
			200, `{"ready":true,"checks":{"event_log":"ok","projector":"unavailable","postgresql":"unavailable"}}`,
			Check{"process", Warning, "clerksync serve (process 7) is ready, except: postgresql, projector", "see the checks below and its log"},
		},
		"not ready": {
			503, `{"ready":false,"checks":{"event_log":"unavailable","postgresql":"ok"}}`,
			Check{"process", Failed, "clerksync serve (process 7) is not ready: event_log", "see the checks below and its log"},
		},
		"another program": {
			200, `<html>`,
			Check{"process", Failed, "clerksync serve (process 7) does not answer on its admin listener", "read its log; if it hangs, restart it"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				require.Equal(t, "/readyz", req.URL.Path)
				w.WriteHeader(tc.code)
				io.WriteString(w, tc.answer)
			}))
			defer s.Close()
			r := &Report{}
			p := Process{Folder: "/data", PID: 7, Command: "serve", AdminURL: s.URL}
			p.look(t.Context(), r)
			require.Equal(t, []Check{tc.want}, r.Checks)
		})
	}
	s := httptest.NewServer(nil)
	s.Close()
	r := &Report{}
	p := Process{PID: 7, Command: "serve", AdminURL: s.URL}
	p.look(t.Context(), r)
	require.Equal(t, Failed, r.Checks[0].Status)
}

// TestClocks: more than a second in either direction is a warning.
func TestClocks(t *testing.T) {
	t.Parallel()
	for off, want := range map[time.Duration]Check{
		0:                         {"clock", OK, "the clock of PostgreSQL agrees with this machine's", ""},
		-time.Second:              {"clock", OK, "the clock of PostgreSQL agrees with this machine's", ""},
		1200 * time.Millisecond:   {"clock", Warning, "the clock of PostgreSQL is 1.2s ahead of this machine's: lags are wrong by as much", "let NTP set both clocks"},
		-7*time.Minute - 10*1e6*4: {"clock", Warning, "the clock of PostgreSQL is 7m0s behind this machine's: lags are wrong by as much", "let NTP set both clocks"},
	} {
		r := &Report{}
		checkClock(r, "clock", "PostgreSQL", off)
		require.Equal(t, []Check{want}, r.Checks)
	}
}
