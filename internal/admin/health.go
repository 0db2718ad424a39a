package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// checkTimeout bounds the checks of a request, which run at once: with it, the answer
// comes within 800 ms.
const checkTimeout = 700 * time.Millisecond

// Check checks one dependency of the process.
type Check struct {
	Name string

	// Fault returns what is wrong in fixed words, without an address or a secret, and ""
	// when nothing is.
	Fault func(context.Context) string

	// Needed means that the process is not ready without it. Others are only reported: a
	// receiver works without PostgreSQL.
	Needed bool
}

// run returns the fault of the check. One that ignores its context does not delay the
// answer.
func (c Check) run(ctx context.Context) string {
	fault := make(chan string, 1)
	go func() { fault <- c.Fault(ctx) }()
	select {
	case f := <-fault:
		return f
	case <-ctx.Done():
		return "no answer in time"
	}
}

// healthPaths need no token and allow any Host: an orchestrator has neither, and the
// answers have fixed words only.
var healthPaths = map[string]bool{"/healthz": true, "/readyz": true}

// healthz reports that the process runs.
func healthz(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) }

// readyz answers 200 when every needed check passes, and 503 otherwise.
func (h *Handler) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
	defer cancel()
	answer := struct {
		Ready  bool              `json:"ready"`
		Checks map[string]string `json:"checks"` // "ok", or what is wrong
	}{true, map[string]string{}}
	faults := make([]string, len(h.o.Checks))
	var all sync.WaitGroup
	for i, c := range h.o.Checks {
		all.Go(func() { faults[i] = c.run(ctx) })
	}
	all.Wait()
	for i, c := range h.o.Checks {
		answer.Checks[c.Name] = cmp.Or(faults[i], "ok")
		answer.Ready = answer.Ready && (faults[i] == "" || !c.Needed)
	}
	w.Header().Set("Content-Type", "application/json")
	if !answer.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	json.NewEncoder(w).Encode(answer)
}

// lag answers with a reading taken now.
func (h *Handler) lag(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	enc.Encode(h.o.Meter.Measure(r.Context()))
}
