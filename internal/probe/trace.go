package probe

import (
	"crypto/tls"
	"net/http/httptrace"
	"sync"
	"time"
)

// trace records the progress of a request. Its hooks run in several goroutines, even
// after the request has failed.
type trace struct {
	mu                                                               sync.Mutex
	dnsStart, dnsDone, dialStart, dialDone, tlsStart, tlsDone, ready time.Time
}

func (t *trace) hooks() *httptrace.ClientTrace {
	mark := func(at *time.Time) { // the first time counts: several addresses may be tried
		t.mu.Lock()
		defer t.mu.Unlock()
		if at.IsZero() {
			*at = time.Now()
		}
	}
	return &httptrace.ClientTrace{
		DNSStart:          func(httptrace.DNSStartInfo) { mark(&t.dnsStart) },
		DNSDone:           func(httptrace.DNSDoneInfo) { mark(&t.dnsDone) },
		ConnectStart:      func(string, string) { mark(&t.dialStart) },
		TLSHandshakeStart: func() { mark(&t.tlsStart) },
		GotConn:           func(httptrace.GotConnInfo) { mark(&t.ready) },
		ConnectDone: func(_, _ string, err error) {
			if err == nil {
				mark(&t.dialDone)
			}
		},
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			if err == nil {
				mark(&t.tlsDone)
			}
		},
	}
}

// times fills in the hops that a request passed, and returns the one at which it stopped
// if there was no answer.
func (t *trace) times(times *Times, answered bool) Hop {
	ended := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	set := func(to **float64, from, until time.Time) {
		if !from.IsZero() && !until.IsZero() {
			*to = seconds(until.Sub(from))
		}
	}
	set(&times.Connect, t.dialStart, t.dialDone)
	set(&times.TLS, t.tlsStart, t.tlsDone)
	if !t.dialStart.IsZero() { // otherwise the name has no address
		set(&times.DNS, t.dnsStart, t.dnsDone)
	}
	if answered {
		set(&times.Receive, t.ready, ended)
	}
	switch {
	case !t.ready.IsZero():
		return AtAnswer
	case !t.tlsStart.IsZero():
		return AtTLS
	case !t.dialStart.IsZero():
		return AtConnect
	}
	return AtDNS
}
