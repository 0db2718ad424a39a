package admin

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/clerksync/clerksync/internal/lag"
)

const (
	// heartbeat is the longest time between two frames. Readings are taken every 5 s;
	// without a new one, the frame tells how old the last one is.
	heartbeat = 7 * time.Second

	// sendTimeout limits the write of one frame to a slow page.
	sendTimeout = 10 * time.Second
)

// frame is one message of the stream. The first has the history.
type frame struct {
	Run     string       `json:"run"` // of this process: the page of another one reloads
	Age     float64      `json:"age"` // of the reading, in seconds
	Reading *lag.Reading `json:"reading"`
	Samples []sampleJSON `json:"samples"` // since the last frame
}

// sampleJSON is one point of the charts. Lags are pairs of p50 and p99, in seconds.
type sampleJSON struct {
	At       int64              `json:"at"` // Unix milliseconds
	Pending  *uint64            `json:"pending"`
	Oldest   *float64           `json:"oldest"`
	Delivery *[2]float64        `json:"delivery"`
	Queue    *[2]float64        `json:"queue"`
	EndToEnd *[2]float64        `json:"end_to_end"`
	Applied  map[string]float64 `json:"applied"`  // events a second by outcome; an outcome that did not occur is missing; null without the worker role
	Received map[string]float64 `json:"received"` // deliveries a second by outcome, null without the receiver role
}

func newSample(s lag.Sample) sampleJSON {
	pair := func(q *lag.Quantiles) *[2]float64 {
		if q == nil {
			return nil
		}
		return &[2]float64{q.P50, q.P99}
	}
	return sampleJSON{
		At: s.At.UnixMilli(), Pending: s.Pending, Oldest: s.OldestPendingAge,
		Delivery: pair(s.Delivery), Queue: pair(s.Queue), EndToEnd: pair(s.EndToEnd),
		Applied: occurred(s.Outcomes), Received: occurred(s.Received),
	}
}

// occurred leaves out the rates that are 0: a day has 2,100 samples.
func occurred(rates map[string]float64) map[string]float64 {
	rates = maps.Clone(rates) // nil stays nil
	maps.DeleteFunc(rates, func(_ string, rate float64) bool { return rate == 0 })
	return rates
}

// stream sends every reading as a server-sent event until the page disconnects, the
// session ends, or the dashboard is closed.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request) {
	select {
	case h.streams <- struct{}{}:
		defer func() { <-h.streams }()
	default:
		w.Header().Set("Retry-After", "30")
		refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("%d dashboards are open already: close one", maxStreams))
		return
	}
	control := http.NewResponseController(w)
	// The time limits of the server are for responses that end.
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		h.o.Logger.Warn("clear the read deadline of a stream: it will end with that of the server", "err", err)
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // or nginx buffers the frames
	changed, cancel := h.o.Watch.Subscribe()
	defer cancel()
	tick := time.NewTimer(heartbeat)
	defer tick.Stop()
	var last time.Time // of the last sample that was sent
	for _, err := h.authenticate(r); err == nil; _, err = h.authenticate(r) {
		f := h.frame(last)
		if n := len(f.Samples); n > 0 {
			last = time.UnixMilli(f.Samples[n-1].At)
		}
		data, err := json.Marshal(f)
		if err != nil {
			h.o.Logger.Error("send a reading to the dashboard", "err", err)
			return
		}
		_ = control.SetWriteDeadline(time.Now().Add(sendTimeout))
		if _, err := fmt.Fprintf(w, "retry: 2000\ndata: %s\n\n", data); err != nil {
			return
		}
		if control.Flush() != nil {
			return
		}
		tick.Reset(heartbeat)
		select {
		case <-changed:
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-h.closing:
			return
		}
	}
}

// frame returns the latest reading and the samples after the last one that was sent.
func (h *Handler) frame(last time.Time) frame {
	f := frame{Run: h.run, Reading: h.o.Watch.Latest(), Samples: []sampleJSON{}}
	if f.Reading != nil {
		f.Age = max(0, time.Since(f.Reading.MeasuredAt).Seconds())
	}
	for _, s := range h.o.Watch.History() {
		if s.At.UnixMilli() > last.UnixMilli() {
			f.Samples = append(f.Samples, newSample(s))
		}
	}
	return f
}
