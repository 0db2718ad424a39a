package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// checkTimeout bounds all checks of one request.
const checkTimeout = 3 * time.Second

// Check checks one dependency of the process.
type Check struct {
	Name  string
	Ready func(context.Context) error

	// Needed means that the process is not ready without it. Others are only reported: a
	// receiver works without PostgreSQL.
	Needed bool
}

// healthPaths need no token and allow any Host: an orchestrator has neither, and the
// answers name only the checks.
var healthPaths = map[string]bool{"/healthz": true, "/readyz": true}

// healthz reports that the process runs.
func healthz(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) }

// readyz answers 200 when every needed check passes, and 503 otherwise.
func (h *Handler) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
	defer cancel()
	answer := struct {
		Ready  bool              `json:"ready"`
		Checks map[string]string `json:"checks"`
	}{true, map[string]string{}}
	for _, c := range h.o.Checks {
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

// lag answers with a reading taken now.
func (h *Handler) lag(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	enc.Encode(h.o.Meter.Measure(r.Context()))
}
