package loadtest

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/signing"
)

// Result is the result of a run. Its JSON names are a contract; an unknown value is null.
type Result struct {
	URL      string `json:"url"`     // without a query, which can hold a secret
	Traffic  string `json:"traffic"` // probes, users
	Complete bool   `json:"complete"`

	Held    *bool  `json:"held"`    // every event of the rate was sent in time, and 95 % accepted; null without a rate, or when the run is not complete
	Limit   Limit  `json:"limit"`   // what was too slow, "" when nothing was
	Verdict string `json:"verdict"` // for people
	Fix     string `json:"fix"`     // next step

	Target      *float64 `json:"target_per_second"` // null in a closed loop
	Rate        float64  `json:"accepted_per_second"`
	Seconds     float64  `json:"seconds"` // from the first event to the last answer
	Connections int      `json:"connections"`
	BodyBytes   int      `json:"body_bytes"`

	Sent     uint64   `json:"sent"`
	Accepted uint64   `json:"accepted"` // answered 204
	Failed   uint64   `json:"failed"`
	NotSent  uint64   `json:"not_sent"` // due while every connection was busy, until the end
	Answers  []Answer `json:"answers"`

	Answer  *Latency `json:"answer_seconds"`  // from the time at which an event was due
	Service *Latency `json:"service_seconds"` // from its sending

	EndToEnd   *lag.Quantiles `json:"end_to_end_seconds"` // from the time at which it was due until a worker had settled it
	NoEndToEnd string         `json:"end_to_end_unknown"` // why EndToEnd is null

	Pending          *uint64  `json:"pending"`               // events stored and not settled after the last answer
	SettledAfter     *float64 `json:"settled_after_seconds"` // from then until all were settled; null when they were not in 30 s
	SettledPerSecond *float64 `json:"settled_per_second"`    // from the first event until then

	Left Left `json:"left"`
}

// Answer is the number of events with one answer.
type Answer struct {
	Status int    `json:"status"` // 0 without an answer
	Reason string `json:"reason"` // why it was refused, or timeout, connection, stopped
	Events uint64 `json:"events"`
}

// Latency holds quantiles in seconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Left is what a run leaves behind.
type Left struct {
	Events     uint64 `json:"events"`       // in the event log, until its retention removes them
	Run        string `json:"run"`          // in the ids of made-up people, user_loadtest_<run>_<n>; "" for probes
	Tombstones uint64 `json:"tombstones"`   // of made-up people
	Alive      uint64 `json:"people_alive"` // that could not be deleted
}

func (h *histogram) latency() *Latency {
	if h.n == 0 {
		return nil
	}
	return &Latency{h.quantile(.5).Seconds(), h.quantile(.9).Seconds(), h.quantile(.99).Seconds(), h.max.Seconds()}
}

// result returns what the tally has.
func (t *Test) result(complete bool) *Result {
	c := t.tally
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &Result{
		URL: shown(t.o.URL), Traffic: "probes", Complete: complete, Connections: t.o.Connections,
		BodyBytes: len(t.traffic.body(0, time.Now())), Sent: c.taken, Accepted: c.accepted(), NotSent: c.missed,
		Answer: c.latency.latency(), Service: c.service.latency(), Answers: []Answer{}, NoEndToEnd: t.o.NoLog,
	}
	r.Failed = r.Sent - r.Accepted - c.answers[stopped]
	if t.o.People > 0 {
		r.Traffic = "users"
	}
	if t.o.Rate > 0 {
		r.Target = &t.o.Rate
	}
	took := c.ended.Sub(c.began)
	if complete {
		took = max(took, t.o.For) // the last event is due one interval before the end
	}
	r.Seconds = took.Seconds()
	if took > 0 {
		r.Rate = float64(r.Accepted) / r.Seconds
	}
	for _, a := range slices.SortedFunc(maps.Keys(c.answers), compareAnswers) {
		r.Answers = append(r.Answers, Answer{a.Status, a.Reason, c.answers[a]})
	}
	return r
}

func compareAnswers(a, b answer) int {
	return cmp.Or(cmp.Compare(a.Status, b.Status), cmp.Compare(a.Reason, b.Reason))
}

// shown returns a URL without the parts that may be secret.
func shown(raw string) string {
	u, err := signing.ParseURL(raw)
	if err != nil {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
