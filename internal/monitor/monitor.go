package monitor

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// checkTimeout bounds every look at a neighbour.
const checkTimeout = 3 * time.Second

// Check asks whether something that is needed is well.
type Check struct {
	Name  string
	Ready func(context.Context) error
	// Needed means that without it this process is not ready. What is not needed
	// is reported all the same: a receiver goes on without PostgreSQL.
	Needed bool
}

// Options say what is watched.
type Options struct {
	Checks   []Check
	Meter    *Meter
	Gatherer prometheus.Gatherer
	Token    string // "" asks for none
	Local    bool   // the listener is on the loopback, where no token is needed

	Dashboard http.Handler // of everything else; it guards itself
}

// Handler returns the admin listener's handler.
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", readyz(o.Checks))
	mux.Handle("GET /metrics", guard(o, promhttp.HandlerFor(o.Gatherer, promhttp.HandlerOpts{
		// A part that cannot be read is missing; the rest is still wanted.
		ErrorHandling: promhttp.ContinueOnError,
	})))
	mux.Handle("GET /lag", guard(o, lag(o.Meter)))
	if o.Dashboard != nil {
		mux.Handle("/", o.Dashboard)
		for _, path := range []string{"/healthz", "/readyz", "/metrics", "/lag"} { // not the dashboard's
			mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Allow", "GET, HEAD")
				http.Error(w, "this is for GET", http.StatusMethodNotAllowed)
			})
		}
	}
	return mux
}

// lag answers with a reading of now.
func lag(m *Meter) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		enc.Encode(m.Measure(r.Context()))
	})
}

// readyz answers 200 when everything needed is well, and 503 otherwise. It needs
// no token, so it says which, and not why.
func readyz(checks []Check) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
		defer cancel()
		answer := struct {
			Ready  bool              `json:"ready"`
			Checks map[string]string `json:"checks"`
		}{true, map[string]string{}}
		for _, c := range checks {
			answer.Checks[c.Name] = "ok"
			if c.Ready(ctx) != nil {
				answer.Checks[c.Name] = "unavailable"
				answer.Ready = answer.Ready && !c.Needed
			}
		}
		w.Header().Set("Content-Type", "application/json")
		if !answer.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		json.NewEncoder(w).Encode(answer)
	}
}

// guard asks for the token. The hashes are compared, so that the time it takes
// tells nothing, not even the length.
func guard(o Options, next http.Handler) http.Handler {
	if o.Local && o.Token == "" {
		return next
	}
	want := sha256.Sum256([]byte(o.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o.Token == "" {
			http.Error(w, "this listener is beyond the loopback: set CLERKSYNC_ADMIN_TOKEN to read more than health", http.StatusForbidden)
			return
		}
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if got := sha256.Sum256([]byte(token)); subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "the bearer token is missing or wrong: it is CLERKSYNC_ADMIN_TOKEN", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}
