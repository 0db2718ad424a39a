package probe

import "time"

// Hop is a hop at which a probe can stop.
type Hop string

// The hops in order.
const (
	AtURL          Hop = "url"          // the URL cannot be used
	AtDNS          Hop = "dns"          // the name has no address
	AtConnect      Hop = "connect"      // no listener
	AtTLS          Hop = "tls"          // no TLS, or an untrusted certificate
	AtRedirect     Hop = "redirect"     // redirected; Svix does not follow
	AtAnswer       Hop = "answer"       // no answer, or one of another program
	AtUnauthorized Hop = "unauthorized" // the receiver refused the signature
	AtUnavailable  Hop = "unavailable"  // the receiver cannot store events
	AtNotStored    Hop = "not_stored"   // acknowledged, but not in this event log
	AtNotApplied   Hop = "not_applied"  // stored, but not settled by a worker
	AtLog          Hop = "log"          // acknowledged, but the event log cannot be read
)

// Hops are all of them.
var Hops = []Hop{
	AtURL, AtDNS, AtConnect, AtTLS, AtRedirect, AtAnswer, AtUnauthorized, AtUnavailable, AtNotStored, AtNotApplied, AtLog,
}

// Result is the result of a probe. Its JSON names are a contract; an unknown value is null.
type Result struct {
	OK        bool   `json:"ok"`
	StoppedAt Hop    `json:"stopped_at"` // "" when ok
	Cause     string `json:"cause"`      // why it stopped, no secret
	Fix       string `json:"fix"`        // what to do about it

	URL    string `json:"url"` // without a query, which can hold a secret
	SvixID string `json:"svix_id"`
	Seq    uint64 `json:"seq"` // in the event log; 0 when unknown
	Times  Times  `json:"hops"`

	// ClockOff is how far, at least, the endpoint's clock is ahead of ours, after
	// allowing for the duration of the request and a second around it.
	ClockOff *float64 `json:"clock_off_seconds"`
}

// Times are the durations of the hops in seconds. A hop that was not reached, or not
// needed, such as DNS for an address, is null.
type Times struct {
	DNS     *float64 `json:"dns_seconds"`
	Connect *float64 `json:"connect_seconds"`
	TLS     *float64 `json:"tls_seconds"`
	Receive *float64 `json:"receive_seconds"` // from the connection to the answer: verified and durably stored
	Queue   *float64 `json:"queue_seconds"`   // from the answer until a worker settled it
	Total   *float64 `json:"total_seconds"`
}

// stop records where and why a probe stopped.
func (r *Result) stop(at Hop, cause, fix string) {
	r.StoppedAt, r.Cause, r.Fix = at, cause, fix
}

func seconds(d time.Duration) *float64 {
	s := d.Seconds()
	return &s
}
