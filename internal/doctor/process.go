package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Process is the clerksync that uses the data folder.
type Process struct {
	Folder   string
	Gone     string // the process that is gone; "" when it runs, or there was none
	PID      int    // 0: there is none
	Command  string
	AdminURL string
}

const maxReadiness = 64 << 10

func (p *Process) look(ctx context.Context, r *Report) {
	switch {
	case p.Gone != "":
		r.add("process", Failed, p.Gone, "read its log, and start it again")
		return
	case p.PID == 0:
		r.add("process", Unchecked, "no clerksync uses the data folder "+p.Folder+": one with NATS_URL uses none", "")
		return
	}
	name := fmt.Sprintf("clerksync %s (process %d)", p.Command, p.PID)
	ready, away, err := readiness(ctx, p.AdminURL)
	switch {
	case err != nil:
		r.add("process", Failed, name+" does not answer on its admin listener", "read its log; if it hangs, restart it")
	case !ready:
		r.add("process", Failed, name+" is not ready: "+away, "see the checks below and its log")
	case away != "":
		r.add("process", Warning, name+" is ready, except: "+away, "see the checks below and its log")
	default:
		r.ok("process", name+" is ready")
	}
}

// readiness reads /readyz of a process. away names what it cannot reach.
func readiness(ctx context.Context, adminURL string) (ready bool, away string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, adminURL+"/readyz", nil)
	if err != nil {
		return false, "", err
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return false, "", err
	}
	defer resp.Body.Close()
	var answer struct {
		Ready  bool              `json:"ready"`
		Checks map[string]string `json:"checks"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReadiness)).Decode(&answer); err != nil {
		return false, "", err
	}
	maps.DeleteFunc(answer.Checks, func(_, state string) bool { return state == "ok" })
	return answer.Ready, strings.Join(slices.Sorted(maps.Keys(answer.Checks)), ", "), nil
}
