package probe

import "time"

// Hop is a part of the way, by which a probe says where it stopped.
type Hop string

// The hops, in the order of the way.
const (
	AtURL          Hop = "url"          // the URL cannot be used
	AtDNS          Hop = "dns"          // the name has no address
	AtConnect      Hop = "connect"      // nobody listens there
	AtTLS          Hop = "tls"          // no secure connection, or one that is not trusted
	AtRedirect     Hop = "redirect"     // it leads elsewhere, where Svix does not go
	AtAnswer       Hop = "answer"       // what answers is not clerksync, or nothing does
	AtUnauthorized Hop = "unauthorized" // the receiver does not trust the signature
	AtUnavailable  Hop = "unavailable"  // the receiver cannot store anything
	AtNotStored    Hop = "not_stored"   // taken, and not in this event log
	AtNotApplied   Hop = "not_applied"  // stored, and no worker passes it
	AtLog          Hop = "log"          // taken; the event log cannot be read to see more
)

// Hops are all of them.
var Hops = []Hop{
	AtURL, AtDNS, AtConnect, AtTLS, AtRedirect, AtAnswer, AtUnauthorized, AtUnavailable, AtNotStored, AtNotApplied, AtLog,
}

// Result is what became of a probe. The names of its JSON are a contract. What is not
// known is null.
type Result struct {
	OK        bool   `json:"ok"`
	StoppedAt Hop    `json:"stopped_at"` // "" when ok
	Cause     string `json:"cause"`      // why it stopped, no secret
	Fix       string `json:"fix"`        // what to do about it

	URL    string `json:"url"` // without a query, which can hold a secret
	SvixID string `json:"svix_id"`
	Seq    uint64 `json:"seq"` // in the event log; 0 when it is not known to be there
	Times  Times  `json:"hops"`

	// ClockOff is how far, at least, the clock of who answered is ahead of ours: what the
	// time that the answer took, and a second around it, cannot explain.
	ClockOff *float64 `json:"clock_off_seconds"`
}

// Times are how long the hops took, in seconds. Those that were not reached are null, and
// those that were not needed: an address needs no DNS.
type Times struct {
	DNS     *float64 `json:"dns_seconds"`
	Connect *float64 `json:"connect_seconds"`
	TLS     *float64 `json:"tls_seconds"`
	Receive *float64 `json:"receive_seconds"` // from the connection to the answer, before which it is verified and durably stored
	Queue   *float64 `json:"queue_seconds"`   // from the answer until the worker had passed it
	Total   *float64 `json:"total_seconds"`
}

// stop ends a probe.
func (r *Result) stop(at Hop, cause, fix string) {
	r.StoppedAt, r.Cause, r.Fix = at, cause, fix
}

func seconds(d time.Duration) *float64 {
	s := d.Seconds()
	return &s
}
